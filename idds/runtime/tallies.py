"""Tallies: what the duties of this process have done since it began."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Of one duty. `did` counts things in steps that did not fail; times are microseconds UTC."""

    agent: str
    duty: str
    steps: int = 0
    failures: int = 0
    did: int = 0
    seconds: float = 0.0
    last_error: str | None = None
    stepped_at: int | None = None


Tallies = list[Tally]
