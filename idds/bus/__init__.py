"""Adapters of the message bus."""
