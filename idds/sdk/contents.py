"""Calls about collections and their contents."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import fields
from math import isfinite
from typing import Any

from idds.domain.content import Intermediate, Outcome, Verdict
from idds.domain.errors import InvalidInput, Problem, Unavailable
from idds.domain.statuses import ContentStatus
from idds.sdk.calls import Calls
from idds.sdk.errors import NoContent, Stale
from idds.sdk.exchange import Again, Call, encode, is_undone
from idds.sdk.views import (
    Advice,
    CollectionView,
    ContentView,
    Kept,
    Lease,
    LeasedContent,
    NewContent,
    Receipt,
    Registered,
    Reported,
)

LINES_A_CALL = 10_000
BYTES_A_CALL = 4 * 2**20


class ContentCalls(Calls):
    """Contents: listed, registered, leased, reported. `lessee` is the name under which they are leased."""

    lessee: str

    async def collection(self, collection: int) -> CollectionView:
        """A collection and the counters of its contents."""
        return await self._ask(CollectionView, Call("GET", f"/v1/collections/{collection}"))

    def contents(self, collection: int, status: ContentStatus | str | None = None) -> AsyncGenerator[ContentView]:
        """All contents, or those of a status, in id order and in flat memory; a stream that breaks is gone on with."""
        path = f"/v1/collections/{collection}/contents"
        return self._lines(ContentView, path, {"status": status}, after=0, place=lambda content: content.id)

    async def register(
        self,
        collection: int,
        contents: Iterable[NewContent | Mapping[str, Any]] | AsyncIterable[NewContent | Mapping[str, Any]],
    ) -> Registered:
        """Add contents, any number of them, to an open collection; those that it has already are passed over.

        They are sent in blocks, so that memory stays flat and a block whose answer was lost is sent again. Raises
        InvalidInput with pointers `/NUMBER/field`, counted from 0; blocks before that one have been registered.
        """
        registered = known = 0
        async for lines in _blocks(contents):
            call = Call("POST", f"/v1/collections/{collection}/contents", lines=b"".join(lines))
            try:
                found = await self._ask(Registered, call)
            except InvalidInput as error:
                raise InvalidInput([_of_all(problem, registered + known) for problem in error.problems]) from None
            registered, known = registered + found.registered, known + found.known
        return Registered(registered, known)

    async def close_collection(self, collection: int) -> CollectionView:
        """Say that nothing more will be registered in it."""
        return await self._ask(CollectionView, Call("POST", f"/v1/collections/{collection}:close"))

    async def lease(
        self, collection: int, *, count: int = 1, ttl_s: float = 60.0, lessee: str | None = None, wait_s: float = 0.0
    ) -> Lease:
        """Up to `count` contents that are ours for `ttl_s`; none where none came to be available within `wait_s`.

        The service may cut a long wait. Where the connection breaks after the call was sent, Unavailable is raised
        though something may have been leased: that is delivered again when its `ttl_s` has ended.
        """
        body = {"count": count, "ttl_s": ttl_s, "lessee": lessee or self.lessee, "wait_s": wait_s}
        path = f"/v1/collections/{collection}/contents:lease"
        return await self._ask(Lease, Call("POST", path, body=body, again=Again.UNSENT, wait_s=wait_s))

    async def heartbeat(self, collection: int, contents: Sequence[LeasedContent], *, ttl_s: float = 60.0) -> Kept:
        """Hold leases for `ttl_s` from now; those that are still ours, and those of them that are to stop."""
        if not contents:
            return Kept()
        body = {"held": [{"id": content.id, "attempt": content.attempt} for content in contents], "ttl_s": ttl_s}
        return await self._ask(Kept, Call("POST", f"/v1/collections/{collection}/contents:heartbeat", body=body))

    async def give_back(self, collection: int, contents: Sequence[LeasedContent]) -> frozenset[int]:
        """End leases of what was not begun: that counts as no attempt. The ids of those that were still ours."""
        if not contents:
            return frozenset()
        body = {"held": [{"id": content.id, "attempt": content.attempt} for content in contents]}
        path = f"/v1/collections/{collection}/contents:return"
        return frozenset(await self._ask(tuple[int, ...], Call("POST", path, body=body), "returned"))

    async def intermediate(self, collection: int, values: Sequence[Intermediate]) -> tuple[Advice, ...]:
        """Say what leased samples are on their way (`LeasedContent.at`), 1,000 values at most; advice for each sample.

        What had to be said twice counts once.
        """
        if not values:
            return ()
        said = [
            {"id": each.content_id, "attempt": each.attempt, "step": each.step, "value": _number(each.value)}
            for each in values
        ]
        path = f"/v1/collections/{collection}/contents:intermediate"
        return await self._ask(tuple[Advice, ...], Call("POST", path, body={"values": said}), "samples")

    async def report(self, collection: int, outcomes: Sequence[Outcome]) -> tuple[Receipt, ...]:
        """Say what came of leased contents (`LeasedContent.done`, `.failed`, `.pruned`); a receipt each, in order.

        A report that had to be sent twice is a `duplicate` the second time, which is as good as `accepted`.
        """
        if not outcomes:
            return ()
        try:
            return await self._ask(tuple[Receipt, ...], _reporting(collection, outcomes), "receipts")
        except Stale:
            return (Receipt(outcomes[0].content_id, Verdict.STALE),)
        except NoContent:
            return (Receipt(outcomes[0].content_id, Verdict.UNKNOWN),)

    async def report_and_lease(
        self,
        collection: int,
        outcomes: Sequence[Outcome],
        *,
        count: int = 1,
        ttl_s: float = 60.0,
        lessee: str | None = None,
    ) -> Reported:
        """Report, one outcome at least, and lease up to `count` contents of those available, in one call.

        Nothing is waited for: where none came, `lease` asks and waits. Reports that are refused lease nothing. Where
        the connection breaks after the call was sent the report is made again, without a lease; what may have been
        leased is delivered again when its `ttl_s` has ended.
        """
        lease = {"count": count, "ttl_s": ttl_s, "lessee": lessee or self.lessee}
        try:
            return await self._ask(Reported, _reporting(collection, outcomes, lease=lease))
        except Unavailable as error:
            if is_undone(error):
                raise
        return Reported((), ended=False, receipts=await self.report(collection, outcomes))


def _reporting(collection: int, outcomes: Sequence[Outcome], **more: Any) -> Call:
    """With a lease it is not the same when it is made twice."""
    body = {"reports": [_report(outcome) for outcome in outcomes], **more}
    again = Again.UNSENT if more else Again.ALWAYS
    return Call("POST", f"/v1/collections/{collection}/contents:report", body=body, again=again)


async def _blocks(
    contents: Iterable[NewContent | Mapping[str, Any]] | AsyncIterable[NewContent | Mapping[str, Any]],
) -> AsyncGenerator[list[bytes]]:
    """Lines, as many as go into one call."""
    lines: list[bytes] = []
    size = 0
    async for content in _each(contents):
        line = encode(_document(content)) + b"\n"
        if lines and (len(lines) == LINES_A_CALL or size + len(line) > BYTES_A_CALL):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield lines


async def _each(
    contents: Iterable[NewContent | Mapping[str, Any]] | AsyncIterable[NewContent | Mapping[str, Any]],
) -> AsyncGenerator[NewContent | Mapping[str, Any]]:
    if isinstance(contents, AsyncIterable):
        async for content in contents:
            yield content
    else:
        for content in contents:
            yield content


def _document(content: NewContent | Mapping[str, Any]) -> dict[str, Any]:
    """What stands at its default is left out of a record."""
    if not isinstance(content, NewContent):
        return dict(content)
    return {name: value for name, default in _DEFAULTS.items() if (value := getattr(content, name)) != default}


_DEFAULTS = {field.name: field.default for field in fields(NewContent)}


def _of_all(problem: Problem, before: int) -> Problem:
    """What is wrong with a line of a block, counted among all contents."""
    number, slash, place = problem.pointer.removeprefix("/").partition("/")
    if not number.isdecimal():
        return problem
    return Problem(f"/{before + int(number)}{slash}{place}", problem.message)


def _report(outcome: Outcome) -> dict[str, Any]:
    """What services had from the first, and of what came later only what is said."""
    constraints = list(map(_number, outcome.constraint_values))
    later = {"constraint_values": constraints, "pruned": outcome.is_pruned}
    return {
        "id": outcome.content_id,
        "attempt": outcome.attempt,
        "status": "done" if outcome.done else "failed",
        "reason": outcome.reason,
        "retry": outcome.retry,
        "objective_values": list(map(_number, outcome.objective_values)),
        "events": outcome.events,
        **{name: value for name, value in later.items() if value},
    }


def _number(value: float) -> float | str:
    """JSON has no numbers that are not finite: they go as words."""
    return value if isfinite(value) else str(float(value))
