"""Why something is as it is: what a request waits for, since when, and what happens next."""

from dataclasses import dataclass

from idds.domain.errors import NotFound
from idds.domain.identifiers import RequestId, TransformId
from idds.domain.request import Principal
from idds.domain.statuses import Intent, Status
from idds.store.database import Database


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to be said: what is so, since when (microseconds UTC, None: not known), and what happens next."""

    text: str
    since: int | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class TransformAnswer:
    """Of one transform: what it waits for, or what it came to."""

    id: TransformId
    work: str
    status: Status
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a request and its transforms, as of `at` (microseconds UTC). Transforms that ended well are left out."""

    request: RequestId
    status: Status
    intent: Intent
    at: int
    sentences: tuple[Sentence, ...]
    transforms: tuple[TransformAnswer, ...]


class Explanation:
    """What the API does for who asks why."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def why(self, principal: Principal, request_id: RequestId) -> Answer:
        """What a request waits for, or why it ended as it did. Raises NotFound."""
        async with self._database.snapshot() as tx:
            request = await tx.requests.get(request_id, principal)
            if request is None:
                raise NotFound(f"there is no request {request_id}")
            sentence = Sentence(f"the request is {request.status}", request.changed_at)
            return Answer(request.id, request.status, request.intent, tx.now, (sentence,), ())
