"""iDDS: an intelligent data delivery service."""

__version__ = "0.1.0"
