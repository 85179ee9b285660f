"""Adapters of data management."""
