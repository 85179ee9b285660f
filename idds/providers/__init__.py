"""Adapters of computing providers."""
