"""Contents of a collection: listed, streamed, registered."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import cast

import msgspec
from aiohttp import web

from idds.api.bodies import ContentsQuery, NewContentBody, RegisterBody
from idds.api.documents import read_lines
from idds.api.lines import NDJSON, blocks
from idds.api.replies import ContentPage, ContentReply, RegisterReply
from idds.api.route import Call, Caller, Reply, Route
from idds.api.streams import stream_lines
from idds.domain.errors import IddsError, InvalidInput, Problem
from idds.domain.identifiers import CollectionId
from idds.services.registration import Checked, Taken, check
from idds.store.listings import Listed


async def list_contents(call: Call[ContentsQuery, None]) -> Reply | web.StreamResponse:
    query, collection = call.query, CollectionId(call.number)
    if NDJSON in call.request.headers.get("Accept", ""):
        return await _stream(call, collection)
    found = await call.doors.catalogue.contents(
        call.principal, collection, status=query.status, after=query.after, limit=query.limit + 1
    )
    page = found[: query.limit]
    following = page[-1].id if len(found) > query.limit else None
    return Reply(ContentPage(cast("list[ContentReply]", _told(page)), following))


async def _stream(call: Call[ContentsQuery, None], collection: CollectionId) -> web.StreamResponse:
    query = call.query
    async with aclosing(
        call.doors.catalogue.stream(call.principal, collection, status=query.status, after=query.after)
    ) as pages:
        return await stream_lines(call.request, pages, _lines)


_Told = msgspec.defstruct("_Told", Listed._fields, frozen=True, gc=False)
_encoder = msgspec.json.Encoder()


def _lines(page: Sequence[Listed]) -> bytes:
    return _encoder.encode_lines(_told(page))


def _told(page: Sequence[Listed]) -> list[msgspec.Struct]:
    """What becomes a `ContentReply` as JSON, without being one: they are many."""
    return [_Told(*each[:-2], _stored(each.parameters), _stored(each.objective_values)) for each in page]


def _stored(json: str | None) -> msgspec.Raw | None:
    return None if json is None else msgspec.Raw(json.encode())


async def register(call: Call[None, RegisterBody | None]) -> Reply:
    writing = _Writing(call)
    if call.body is not None:
        with _placed("/contents"):
            writing.begin(check(call.body.contents))
            await writing.end()
    else:
        await _register_lines(call, writing)
    return Reply(RegisterReply(writing.registered, writing.known))


async def _register_lines(call: Call[None, RegisterBody | None], writing: "_Writing") -> None:
    """Each block is read while the one before is written."""
    read = 0
    try:
        try:
            async with aclosing(blocks(call.request, call.settings.max_stall_s)) as found:
                async for lines in found:
                    checked = await asyncio.to_thread(_read, lines, read)
                    await writing.end()
                    writing.begin(checked, read)
                    read += len(lines)
        finally:
            await writing.end()
    except IddsError as error:
        error.add_note(f"Before that, {writing.registered:,} contents were registered, {writing.known:,} known already")
        raise


def _read(lines: Sequence[bytes], first: int) -> Checked:
    contents = read_lines(lines, NewContentBody, first)
    with _placed("", first):
        return check(contents)


class _Writing:
    """Registers a block at a time, in the background, and counts."""

    def __init__(self, call: Call[None, RegisterBody | None]) -> None:
        self.registered = 0
        self.known = 0
        self._call = call
        self._task: asyncio.Task[Taken] | None = None
        self._first = 0

    def begin(self, checked: Checked, first: int = 0) -> None:
        """Begin to write a block, whose first content is this one of all."""
        call, self._first = self._call, first
        registering = call.doors.registration.register(call.principal, CollectionId(call.number), checked)
        self._task = asyncio.create_task(registering)

    async def end(self) -> None:
        """Wait until what was begun is written. Raises what `Registration.register` raises."""
        if self._task is not None:
            task, self._task = self._task, None
            with _placed("", self._first):
                taken = await task
            self.registered += taken.registered
            self.known += taken.known


@contextmanager
def _placed(place: str, first: int = 0) -> Iterator[None]:
    """What is wrong with a content stands in the body under `place`, counted from `first`."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput([_moved(problem, place, first) for problem in error.problems]) from None


def _moved(problem: Problem, place: str, first: int) -> Problem:
    number, field = problem.pointer.removeprefix("/").split("/", 1)
    return Problem(f"{place}/{first + int(number)}/{field}", problem.message)


_OF_COLLECTION = "/v1/collections/{id}"

ROUTES = (
    Route(
        "GET",
        f"{_OF_COLLECTION}/contents",
        "listContents",
        "Contents in id order; accepting application/x-ndjson, all of them as a stream, one JSON object a line",
        Caller.READER,
        list_contents,
        reply=ContentPage,
        query=ContentsQuery,
        statuses=(200, 404),
        also=NDJSON,
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents",
        "registerContents",
        "Register contents in an open collection: at once, or any number of them as application/x-ndjson, a line each. "
        "What is there already is `known` and stays as it is. An error in a line names it, counted from 0; the "
        "blocks of lines before it are registered",
        Caller.USER,
        register,
        reply=RegisterReply,
        body=RegisterBody,
        statuses=(200, 404, 408, 409),
        reads_lines=True,
    ),
)
