"""The stream of events: server-sent events as the HTML standard has them, gone on with where it broke.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from idds.domain.errors import Unavailable
from idds.sdk.calls import decode, record, split_lines
from idds.sdk.exchange import Call, Delays, Exchange
from idds.sdk.views import MoveView

ACCEPT = {"Accept": "text/event-stream"}
OPENED, BROKEN = "opened", "broken"
"""Not the service's: the stream stands, at first or again, and it does so no more."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event as it was sent: its kind, what it tells, and the id to go on from."""

    kind: str
    text: str
    id: str


async def server_events(lines: AsyncIterator[bytes], last_id: str = "") -> AsyncGenerator[ServerEvent]:
    """Events of a stream's lines. What sets only the id, or is a comment, comes as an event of kind "" without text."""
    kind, texts = "", list[str]()
    async for line in lines:
        field, _, value = line.decode("utf-8", "replace").removesuffix("\r").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "" if value or line.startswith(b":"):
                yield ServerEvent("", "", last_id)
            case "":
                yield ServerEvent((kind or "message") if texts else "", "\n".join(texts), last_id)
                kind, texts = "", []
            case "event":
                kind = value
            case "data":
                texts.append(value)
            case "id" if "\0" not in value:
                last_id = value


async def follow(
    exchange: Exchange, path: str, query: Mapping[str, Any], *, after: int | None = None, patience_s: float
) -> AsyncGenerator[ServerEvent]:
    """Events until the service says that there will be no more; each once, over any number of broken connections.

    Between them come `OPENED` and `BROKEN`. Raises IddsError: what refuses the stream at once, what is away
    when nothing was heard for `patience_s`.
    """
    last_id = "" if after is None else str(after)
    delays: Delays | None = None
    while True:
        headers = {**ACCEPT, **({"Last-Event-ID": last_id} if last_id else {})}
        try:
            async with exchange.stream(Call("GET", path, query, headers=headers)) as response:
                yield ServerEvent(OPENED, "", last_id)
                lines = split_lines(response.content.iter_any())
                async with aclosing(lines), aclosing(server_events(lines, last_id)) as events:
                    async for event in events:
                        delays, last_id = None, event.id
                        if event.kind == "end":
                            return
                        if event.kind:
                            yield event
            broken = Unavailable("the stream of events broke off")
        except Unavailable as error:
            broken = error
        yield ServerEvent(BROKEN, "", last_id)
        delays = delays or Delays(patience_s)
        await delays.wait(broken)


def move_of(event: ServerEvent) -> MoveView:
    """The move that an event tells of. Raises Broken."""
    return record(MoveView, decode(event.text))
