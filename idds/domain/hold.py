"""Holds: what operators, or those who run a storage system, take out of service for a while."""

from collections.abc import Mapping
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


def hold_of_tape(holds: Mapping[tuple[HoldKind, str], Hold], rse: str | None, system: str) -> Hold | None:
    """Why nothing is recalled from a tape RSE (None: not known which) of a tape system: one of both is held.

    A hold of another RSE of the same system is none of it.
    """
    of_rse = holds.get((HoldKind.TAPE, rse)) if rse is not None else None
    return of_rse or holds.get((HoldKind.TAPE, system))
