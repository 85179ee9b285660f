"""A message: what the conductor tells the outside. Its body is frozen when it is recorded and never re-cut."""

from dataclasses import dataclass

from idds.domain.identifiers import RequestId

MAX_CONTENTS = 2000
"""At most so many contents stand in one message."""


@dataclass(frozen=True, slots=True)
class Message:
    """`(request_id, seq)` is its identity: a consumer that sees it twice can tell. `body` is JSON."""

    request_id: RequestId
    seq: int
    topic: str
    body: str
