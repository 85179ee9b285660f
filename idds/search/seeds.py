"""Seeds: each point has generators of its own, so that asking for it again gives the same."""

import random
from hashlib import sha256


def generator(*of: int) -> random.Random:
    """A generator for what these numbers name: study's seed, segment, sample, try."""
    return random.Random(":".join(map(str, of)))  # noqa: S311 -- no secret depends on it


def seed(*of: int) -> int:
    """The same as a seed of 32 bits, for generators of others."""
    return int.from_bytes(sha256(":".join(map(str, of)).encode()).digest()[:4], "big")
