"""Addresses on the web."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address
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


def is_within(peer: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an address, as a connection tells of it, is of one of these networks."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)
