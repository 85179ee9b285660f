"""Calls about requests and what belongs to them."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from idds.domain.errors import IddsError, InvalidInput, Problem
from idds.domain.job import LogChunk
from idds.domain.processing import Processing
from idds.domain.statuses import Status
from idds.domain.transform import Transform
from idds.domain.workflow import Workflow
from idds.sdk import events
from idds.sdk.calls import Calls
from idds.sdk.documents import to_document
from idds.sdk.ending import end
from idds.sdk.errors import Broken
from idds.sdk.exchange import Call
from idds.sdk.views import Answer, MoveView, RequestView, TransformView

FALLBACK_S = 15.0
"""What no event tells is seen this late."""


class RequestCalls(Calls):
    """Requests: submitted, listed, ordered about, followed, explained."""

    async def submit(
        self,
        workflow: Workflow | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        share: str = "",
        priority: int = 0,
        lifetime_s: float | None = None,
        owner: str | None = None,
    ) -> RequestView:
        """Submit a workflow, once: the same key with the same document gives the same request again.

        Without a key one is made, so that a lost answer does no harm. After `lifetime_s` it expires; for another
        `owner` may submit who is a workload manager. Raises InvalidInput with pointers into the workflow document,
        and Conflict when the key came with another document before.
        """
        body: dict[str, Any] = {"workflow": to_document(workflow), "share": share, "priority": priority}
        body |= {name: it for name, it in (("lifetime_s", lifetime_s), ("owner", owner)) if it is not None}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        try:
            return await self._ask(RequestView, Call("POST", "/v1/requests", body=body, headers=headers))
        except InvalidInput as error:
            raise InvalidInput([_of_workflow(problem) for problem in error.problems]) from None

    def requests(
        self,
        status: Status | str | Iterable[Status | str] | None = None,
        limit: int | None = None,
        *,
        owner: str | None = None,
        share: str | None = None,
        name: str | None = None,
    ) -> AsyncGenerator[RequestView]:
        """Requests that we may see, newest first, `limit` at most; without what belongs to them.

        Those that have one of the statuses, this owner and share, and a name that begins with `name`.
        """
        statuses = (status,) if status is None or isinstance(status, str) else tuple(status)
        query = {"status": statuses, "owner": owner, "share": share, "name": name}
        return self._pages(RequestView, "/v1/requests", "requests", query, limit, "before")

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

    async def retry(self, request: int, lifetime_s: float | None = None) -> RequestView:
        """Go on with what did not succeed; it may take `lifetime_s` from now (None: the service's default).

        Raises Conflict when there is nothing to try again.
        """
        return await self._order(request, "retry", {} if lifetime_s is None else {"lifetime_s": lifetime_s})

    async def extend(self, request: int, lifetime_s: float | None) -> RequestView:
        """Let it expire `lifetime_s` from now, or never (None). Raises Conflict when it has ended."""
        return await self._order(request, "extend", {"lifetime_s": lifetime_s})

    async def _order(self, request: int, order: str, body: Mapping[str, Any] | None = None) -> RequestView:
        return await self._ask(RequestView, Call("POST", f"/v1/requests/{request}:{order}", body=body))

    async def transforms(self, request: int) -> tuple[Transform, ...]:
        """The transforms of a request."""
        call = Call("GET", f"/v1/requests/{request}/transforms")
        return await self._ask(tuple[Transform, ...], call, "transforms")

    async def transform(self, transform: int) -> TransformView:
        """A transform and its collections."""
        return await self._ask(TransformView, Call("GET", f"/v1/transforms/{transform}"))

    def processings(
        self, request: int, status: Status | str | None = None, *, transform: int | None = None
    ) -> AsyncGenerator[Processing]:
        """Processings of a request, or those of a status and a transform, oldest first."""
        query = {"status": status, "transform": transform}
        return self._pages(Processing, f"/v1/requests/{request}/processings", "processings", query)

    async def processing(self, processing: int) -> Processing:
        """A processing."""
        return await self._ask(Processing, Call("GET", f"/v1/processings/{processing}"))

    def history(
        self, request: int, *, entity: str | None = None, with_ids: bool = False, after: int | None = None
    ) -> AsyncGenerator[MoveView]:
        """What happened to a request and all that belongs to it, or to one `entity` of it, oldest first.

        `with_ids` says whose ids are wanted too: the moves' `ids`.
        """
        query = {"entity": entity, "with_ids": "true" if with_ids else None, "after": after}
        return self._pages(MoveView, f"/v1/requests/{request}/history", "moves", query)

    async def why(self, request: int) -> Answer:
        """What a request waits for, or why it ended as it did."""
        return await self._ask(Answer, Call("GET", f"/v1/requests/{request}/why"))

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

    async def events(
        self, request: int | None = None, *, entity: str | None = None, after: int | None = None
    ) -> AsyncGenerator[MoveView]:
        """Moves as they happen, of all requests that we may see or of one: from now on, or from the move `after` on.

        Each comes once, in order, over any number of broken connections and restarts of the service. Those of one
        request end when it has ended. Raises Unavailable when nothing was heard for as long as our patience lasts.
        """
        path, query = _stream_of(request, entity)
        stream = events.follow(self._exchange, path, query, after=after, patience_s=self._patience_s)
        async with aclosing(stream):
            async for event in stream:
                if event.kind == "move":
                    yield events.move_of(event)

    async def changes(
        self, request: int, *, entity: str | None = None, interval_s: float = 0.5
    ) -> AsyncGenerator[None]:
        """The moments to look at a request again: now, and whenever it may have changed; they do not end.

        Never two within `interval_s`. They come from the stream of events; while there is none, one comes each
        `interval_s`.
        """
        news, stands = asyncio.Event(), asyncio.Event()
        listening = asyncio.create_task(self._listen(_stream_of(request, entity), news, stands))
        loop = asyncio.get_running_loop()
        try:
            while True:
                looked = loop.time()
                news.clear()
                yield
                await _set_or_late(news, FALLBACK_S if stands.is_set() else interval_s)
                await asyncio.sleep(looked + interval_s - loop.time())
        finally:
            await end(listening)

    async def _listen(self, stream: tuple[str, Mapping[str, Any]], news: asyncio.Event, stands: asyncio.Event) -> None:
        """Tell each time something is heard, and whether the stream stands."""
        try:
            heard = events.follow(self._exchange, *stream, patience_s=self._patience_s)
            async with aclosing(heard):
                async for event in heard:
                    if event.kind == events.OPENED:
                        stands.set()
                    elif event.kind == events.BROKEN:
                        stands.clear()
                    news.set()
        except IddsError:
            pass  # whoever looks meets the same, or does without the stream
        finally:
            stands.clear()
            news.set()

    async def follow(self, request: int, *, interval_s: float = 0.5) -> AsyncGenerator[RequestView]:
        """The request now, and each time it has changed, until it has ended; at most once per `interval_s`."""
        before = None
        async with aclosing(self.changes(request, interval_s=interval_s)) as changes:
            async for _ in changes:
                now = await self.request(request)
                if now != before:
                    yield now
                if now.status.is_terminal:
                    return
                before = now

    async def wait(self, request: int, *, interval_s: float = 0.5) -> RequestView:
        """The request, when it has ended. `asyncio.timeout` bounds the wait."""
        async with aclosing(self.changes(request, entity=f"request:{request}", interval_s=interval_s)) as changes:
            async for _ in changes:
                now = await self.request(request)
                if now.status.is_terminal:
                    break
        return now


def _stream_of(request: int | None, entity: str | None) -> tuple[str, Mapping[str, Any]]:
    """Where events come from, and what to ask there."""
    if request is None or entity is not None:
        return "/v1/events", {"request": request, "entity": entity}
    return f"/v1/requests/{request}/events", {}


async def _set_or_late(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _of_workflow(problem: Problem) -> Problem:
    """What was given is the workflow, and not the body around it."""
    return Problem(problem.pointer.removeprefix("/workflow"), problem.message)
