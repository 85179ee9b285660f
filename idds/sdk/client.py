"""The client of the service's HTTP API.

    async with Client("https://idds.example.org", token_file="~/.idds-token") as client:
        request = await client.submit(workflow)
        request = await client.wait(request.id)

Every method raises `idds.domain.errors.IddsError`: InvalidInput with the places that are wrong, NotFound, Conflict,
Unauthenticated, Forbidden, Unavailable (asking again later makes sense; `idds.sdk.errors.Unreachable` when nobody
answers at all), or `idds.sdk.errors.Broken` for an answer that makes no sense.
"""

import asyncio
import json
import os
import socket
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from idds.domain.content import Outcome
from idds.domain.errors import InvalidInput, Problem, Unavailable
from idds.domain.job import LogChunk
from idds.domain.processing import Processing
from idds.domain.replica import Window
from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Workflow
from idds.sdk.connection import find_connection
from idds.sdk.documents import to_document
from idds.sdk.errors import Broken, Stale
from idds.sdk.exchange import Again, Call, Delays, Exchange
from idds.sdk.reading import Unreadable, read
from idds.sdk.views import (
    Answer,
    CollectionView,
    ContentView,
    Lease,
    LeasedContent,
    MoveView,
    Receipt,
    ReplicasView,
    RequestView,
)

T = TypeVar("T")

PAGE = 1000
NDJSON = {"Accept": "application/x-ndjson"}


class Client:
    """To be used in an `async with` block, by any number of tasks of one event loop.

    What is not given is taken from the environment: IDDS_URL, IDDS_TOKEN, IDDS_TOKEN_FILE. Raises InvalidInput for a
    URL or token file that is no good. A call takes `timeout_s` at most. Calls that do the same when made twice are made
    again, for up to `patience_s`, while the service is away or says that it is busy: all but `lease` and
    `payload_token`, which are made again only when no connection was made.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        token_file: Path | str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = 30.0,
    ) -> None:
        connection = find_connection(url, token, token_file)
        self.url = connection.url
        self._patience_s = patience_s
        self._exchange = Exchange(connection, timeout_s=timeout_s, patience_s=patience_s)
        self._lessee = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.close()

    async def ready(self) -> bool:
        """Whether the service can do its work now; asked once."""
        try:
            async with self._exchange.stream(Call("GET", "/readyz"), whole=True):
                return True
        except Unavailable:
            return False

    async def submit(
        self,
        workflow: Workflow | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        share: str = "",
        priority: int = 0,
    ) -> RequestView:
        """Submit a workflow, once: the same key with the same document gives the same request again.

        Without a key one is made, so that a lost answer does no harm. Raises InvalidInput with pointers into the
        workflow document, and Conflict when the key came with another document before.
        """
        body = {"workflow": to_document(workflow), "share": share, "priority": priority}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        try:
            return await self._ask(RequestView, Call("POST", "/v1/requests", body=body, headers=headers))
        except InvalidInput as error:
            raise InvalidInput([_of_workflow(problem) for problem in error.problems]) from None

    async def requests(
        self, status: Status | str | None = None, limit: int | None = None
    ) -> AsyncIterator[RequestView]:
        """Requests that we may see, newest first, `limit` at most; without what belongs to them."""
        query = {"status": status, "limit": _page(limit)}
        async for request in self._pages(RequestView, "/v1/requests", "requests", query, "before", limit):
            yield request

    async def request(self, request: int) -> RequestView:
        """A request with its workflow, transforms and collections."""
        return await self._ask(RequestView, Call("GET", f"/v1/requests/{request}"))

    async def cancel(self, request: int) -> RequestView:
        """Order it to stop. Raises Conflict when it ended otherwise."""
        return await self._order(request, "cancel")

    async def suspend(self, request: int) -> RequestView:
        """Order it to pause: nothing new is admitted, delivered or submitted until it is resumed."""
        return await self._order(request, "suspend")

    async def resume(self, request: int) -> RequestView:
        """Order it to go on."""
        return await self._order(request, "resume")

    async def finish(self, request: int) -> RequestView:
        """Order it to end early, with what there is."""
        return await self._order(request, "finish")

    async def _order(self, request: int, order: str) -> RequestView:
        return await self._ask(RequestView, Call("POST", f"/v1/requests/{request}:{order}"))

    async def processings(self, request: int) -> AsyncIterator[Processing]:
        """Processings of a request, oldest first."""
        path = f"/v1/requests/{request}/processings"
        async for processing in self._pages(Processing, path, "processings", {"limit": PAGE}, "after"):
            yield processing

    async def history(self, request: int) -> AsyncIterator[MoveView]:
        """What happened to a request and all that belongs to it, oldest first."""
        async for move in self._pages(MoveView, f"/v1/requests/{request}/history", "moves", {"limit": PAGE}, "after"):
            yield move

    async def why(self, request: int) -> Answer:
        """What a request waits for, or why it ended as it did."""
        return await self._ask(Answer, Call("GET", f"/v1/requests/{request}/why"))

    async def follow(self, request: int, *, interval_s: float = 0.5) -> AsyncIterator[RequestView]:
        """The request now, and each time it has changed, until it has ended."""
        before = None
        while True:
            now = await self.request(request)
            if now != before:
                yield now
            if now.status.is_terminal:
                return
            before = now
            await asyncio.sleep(interval_s)

    async def wait(self, request: int, *, interval_s: float = 0.5) -> RequestView:
        """The request, when it has ended. `asyncio.timeout` bounds the wait."""
        async for now in self.follow(request, interval_s=interval_s):
            last = now
        return last

    async def collection(self, collection: int) -> CollectionView:
        return await self._ask(CollectionView, Call("GET", f"/v1/collections/{collection}"))

    async def contents(self, collection: int, status: ContentStatus | str | None = None) -> AsyncIterator[ContentView]:
        """All contents, or those of a status, in id order and in flat memory; a stream that breaks is gone on with."""
        after, delays = 0, Delays(self._patience_s)
        while True:
            call = Call(
                "GET", f"/v1/collections/{collection}/contents", {"status": status, "after": after}, headers=NDJSON
            )
            try:
                async with self._exchange.stream(call) as response:
                    async for line in _lines(response.content.iter_any()):
                        content = _read(ContentView, _decode(line))
                        yield content
                        after, delays = content.id, Delays(self._patience_s)
            except Unavailable as error:
                await delays.wait(error)
            else:
                return

    async def lease(
        self, collection: int, *, count: int = 1, ttl_s: float = 60.0, lessee: str | None = None, wait_s: float = 0.0
    ) -> Lease:
        """Up to `count` contents that are ours for `ttl_s`; none where none came to be available within `wait_s`.

        The service may cut a long wait. Where the connection breaks after the call was sent, Unavailable is raised
        though something may have been leased: that is delivered again when its `ttl_s` has ended.
        """
        body = {"count": count, "ttl_s": ttl_s, "lessee": lessee or self._lessee, "wait_s": wait_s}
        path = f"/v1/collections/{collection}/contents:lease"
        return await self._ask(Lease, Call("POST", path, body=body, again=Again.UNSENT, wait_s=wait_s))

    async def heartbeat(
        self, collection: int, contents: Sequence[LeasedContent], *, ttl_s: float = 60.0
    ) -> frozenset[int]:
        """Hold leases for `ttl_s` from now; the ids of those that are still ours."""
        if not contents:
            return frozenset()
        body = {"held": [{"id": content.id, "attempt": content.attempt} for content in contents], "ttl_s": ttl_s}
        path = f"/v1/collections/{collection}/contents:heartbeat"
        return frozenset(await self._ask(tuple[int, ...], Call("POST", path, body=body), "held"))

    async def report(self, collection: int, outcomes: Sequence[Outcome]) -> tuple[Receipt, ...]:
        """Say what came of leased contents (`LeasedContent.done`, `.failed`); a receipt each, in order.

        A report that had to be sent twice is a `duplicate` the second time, which is as good as `accepted`.
        """
        if not outcomes:
            return ()
        body = {"reports": [_report(outcome) for outcome in outcomes]}
        path = f"/v1/collections/{collection}/contents:report"
        try:
            return await self._ask(tuple[Receipt, ...], Call("POST", path, body=body), "receipts")
        except Stale:
            return (Receipt(outcomes[0].content_id, "stale"),)

    async def payload_token(self, collection: int, lifetime_s: float) -> str:
        """A token that can lease from this collection and report to it for `lifetime_s`, and nothing else."""
        call = Call("POST", f"/v1/collections/{collection}:token", body={"lifetime_s": lifetime_s}, again=Again.UNSENT)
        return await self._ask(str, call, "token")

    async def logs(
        self, processing: int, stream: str = "stdout", offset: int = 0, limit: int | None = None
    ) -> LogChunk:
        """Bytes of `stdout` or `stderr` of its present attempt; a negative offset counts from the end."""
        path = f"/v1/processings/{processing}/logs/{stream}"
        received = await self._exchange.call(Call("GET", path, {"offset": offset, "limit": limit}))
        try:
            following = int(received.headers["X-Next-Offset"])
        except (KeyError, ValueError):
            raise Broken("the answer does not say where the log goes on") from None
        return LogChunk(received.body, following, received.headers.get("X-Eof") == "true")

    async def windows(self) -> tuple[Window, ...]:
        """All windows, for operators."""
        return await self._ask(tuple[Window, ...], Call("GET", "/v1/windows"), "windows")

    async def replicas(self) -> tuple[ReplicasView, ...]:
        """How many replicas of each RSE have which status, for operators."""
        return await self._ask(tuple[ReplicasView, ...], Call("GET", "/v1/replicas"), "replicas")

    async def _ask(self, kind: type[T], call: Call, name: str | None = None) -> T:
        """The answer, or its field `name`, as a record of this kind."""
        document = (await self._exchange.call(call)).json()
        return _read(kind, document if name is None else _member(document, name))

    async def _pages(
        self, kind: type[T], path: str, name: str, query: Mapping[str, Any], cursor: str, limit: int | None = None
    ) -> AsyncIterator[T]:
        following: Any = None
        given = 0
        while True:
            document = (await self._exchange.call(Call("GET", path, {**query, cursor: following}))).json()
            for item in _read(tuple[kind, ...], _member(document, name)):  # type: ignore[valid-type]
                if given == limit:
                    return
                yield item
                given += 1
            following = document.get("next")
            if following is None or given == limit:
                return


def _page(limit: int | None) -> int:
    return PAGE if limit is None else max(1, min(PAGE, limit))


def _report(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.content_id,
        "attempt": outcome.attempt,
        "status": "done" if outcome.done else "failed",
        "reason": outcome.reason,
        "retry": outcome.retry,
        "objective_values": list(outcome.objective_values),
    }


def _of_workflow(problem: Problem) -> Problem:
    """What was given is the workflow, and not the body around it."""
    return Problem(problem.pointer.removeprefix("/workflow"), problem.message)


async def _lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines, of any length."""
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


def _decode(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise Broken("a line of the answer is no JSON") from None


def _member(document: Any, name: str) -> Any:
    if not isinstance(document, Mapping) or name not in document:
        raise Broken(f"the answer has no {name!r}")
    return document[name]


def _read(kind: type[T], document: Any) -> T:
    try:
        return read(kind, document)
    except Unreadable as error:
        raise Broken(f"the answer is not understood at {error}; is the client older than the service?") from None
