"""Rucio's own events, as its daemon hermes posts them to what it takes for an Elasticsearch.

Lines of JSON: an event, `{"id", "event_type", "payload", ...}`, behind each line `{"index": {}}`. Anything but 200
has hermes send them again.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from idds.api.lines import blocks
from idds.api.replies import RucioEventsReply
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.errors import InvalidInput, NotFound, Problem, Unauthenticated, Unavailable
from idds.domain.identifiers import Did
from idds.domain.replica import Change

_WITHOUT_NEWS = frozenset({"transfer-queued", "transfer-submitted", "transfer-waiting"})
"""Of these events the file stands where it stood."""


_DELETIONS = frozenset({"deletion-done", "deletion-not-found"})


class _Payload(msgspec.Struct, frozen=True):
    scope: str | None = None
    name: str | None = None
    rse: str | None = None
    target: str | None = msgspec.field(default=None, name="dst-rse")


class _Line(msgspec.Struct, frozen=True):
    id: str | None = None
    event_type: str | None = None
    payload: _Payload | msgspec.UnsetType = msgspec.UNSET


_LINE = msgspec.json.Decoder(_Line)


async def take(call: Call[None, None]) -> Reply:
    await _check(call)
    received = news = read = 0
    async with aclosing(blocks(call.request, call.settings.max_stall_s)) as found:
        async for lines in found:
            told, changes = await asyncio.to_thread(_read, lines, read)
            received, read = received + told, read + len(lines)
            if changes:
                news += await call.doors.hinting.changed(changes)
    return Reply(RucioEventsReply(received, news))


async def _check(call: Call[None, None]) -> None:
    """Raises NotFound where no events are taken, Unauthenticated where the secret is not the right one."""
    file = call.access.rucio_secret_file
    if file is None:
        raise NotFound("events of Rucio are not taken here: access.rucio_secret_file is not set")
    secret = await asyncio.to_thread(_secret, file)
    if not hmac.compare_digest(_password(call.request.headers.get("Authorization", "")), secret):
        raise Unauthenticated("hermes shows the secret as its elastic_password")


def _secret(file: Path) -> bytes:
    """Read for each call, so that it can be changed. Raises Unavailable."""
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise Unavailable(f"the secret of Rucio's events cannot be read: {error.strerror}") from None
    if not secret:
        raise Unavailable("the file with the secret of Rucio's events is empty")
    return secret


def _password(header: str) -> bytes:
    """What stands behind the colon of a header of basic authentication (RFC 7617); nothing of any other."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _read(lines: Sequence[bytes], first: int) -> tuple[int, Mapping[str, Change]]:
    """How many events these lines hold; what changed, by the event's id, of those that are of a file."""
    told = 0
    changes: dict[str, Change] = {}
    for number, line in enumerate(lines, first):
        try:
            event = _LINE.decode(line) if line.strip() else _Line()
        except msgspec.DecodeError as error:
            raise InvalidInput([Problem(f"/{number}", str(error))]) from None
        payload = event.payload
        if event.id is None or isinstance(payload, msgspec.UnsetType):
            continue
        told += 1
        rse, kind = payload.target or payload.rse, (event.event_type or "").lower()
        if not payload.scope or not payload.name or kind in _WITHOUT_NEWS:
            continue
        # No database holds NUL: nothing of ours is called so, and hermes would send what is refused for ever.
        if not any("\0" in text for text in (event.id, payload.scope, payload.name, rse or "")):
            changes[f"rucio {event.id}"] = Change(rse, Did(payload.scope, payload.name), kind in _DELETIONS)
    return told, changes


ROUTES = (
    Route(
        "POST",
        "/v1/rucio/events",
        "takeRucioEvents",
        "Events of Rucio, posted by its daemon hermes with the shared secret; the files they are of are looked at",
        Caller.PUBLIC,
        take,
        reply=RucioEventsReply,
        statuses=(200, 401, 404),
        reads_lines=True,
    ),
)
