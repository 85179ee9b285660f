"""An event: a move as it is told to who listens."""

from dataclasses import dataclass

from idds.domain.content import Move


@dataclass(frozen=True, slots=True)
class Event:
    """A move, without its ids, and whose it is: None where it belongs to no request."""

    move: Move
    owner: str | None
    vo: str | None
    share: str | None
