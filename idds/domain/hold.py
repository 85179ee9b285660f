"""Holds: what operators, or those who run a storage system, take out of service for a while."""

from dataclasses import dataclass
from enum import StrEnum


class HoldKind(StrEnum):
    TAPE = "tape"
    """Nothing is recalled from it."""
    RSE = "rse"
    """Nothing is brought to this disk."""


@dataclass(frozen=True, slots=True)
class Hold:
    """That `owner` holds a tape or a disk RSE since `at` (microseconds UTC), and why. What is under way goes on."""

    kind: HoldKind
    ref: str
    reason: str
    owner: str
    at: int
