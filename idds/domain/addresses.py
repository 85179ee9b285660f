"""Addresses on the web."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_safe(url: str) -> bool:
    """Whether nobody on the way can put in an answer of his own: https, or http on this very machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        if not host or parts.username or parts.password or parts.fragment or parts.port == 0:
            return False
        return parts.scheme == "https" or (parts.scheme == "http" and (host == "localhost" or _is_loopback(host)))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
