"""How much there is of everything that waits or is under way: what an operator watches."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Level:
    """So many of a kind in a state. `since` is when the first in line came to it: microseconds UTC, None if none."""

    kind: str
    state: str
    number: int
    since: int | None = None
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class WindowLevel:
    """A window of an RSE; None for no limit."""

    rse: str
    limit_bytes: int | None
    reserved_bytes: int
    limit_files: int | None
    reserved_files: int


@dataclass(frozen=True, slots=True)
class Levels:
    """All of one moment, `at` microseconds UTC. Requests that have ended, and what is theirs, are not counted."""

    at: int
    requests: Sequence[Level]
    due: Level
    contents: Sequence[Level]
    samples: Sequence[Level]
    leases_ended: int
    processings: Sequence[Level]
    replicas: Sequence[Level]
    effects: Sequence[Level]
    messages: Level
    windows: Sequence[WindowLevel]
    agents: Sequence[Level]
