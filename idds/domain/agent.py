"""A process that runs agents, as it tells of itself."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DutyReport:
    """What a duty has done since its process began. Times are microseconds UTC."""

    agent: str
    name: str
    steps: int
    failures: int
    last_error: str | None
    stepped_at: int | None


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """A process and the agents in it. `owner` is its name in claims."""

    owner: str
    names: Sequence[str]
    host: str
    pid: int
    version: str
    duties: Sequence[DutyReport]
    started_at: int
    seen_at: int
