"""Where the watch gets its news from."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from idds.domain.errors import Forbidden
from idds.domain.replica import Window

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import Answer, RequestView


@dataclass(frozen=True, slots=True)
class Update:
    """A request as it is now, what it waits for, and the windows that bound it, where we may see them."""

    request: "RequestView"
    answer: "Answer"
    windows: tuple[Window, ...] = field(default=())


async def updates(client: "Client", request: int, *, interval_s: float = 0.5) -> AsyncGenerator[Update, None]:
    """The request now, and each time something has changed, until it has ended."""
    before: Update | None = None
    may_see_windows = True
    async with aclosing(client.changes(request, interval_s=interval_s)) as changes:
        async for _ in changes:
            now = await client.request(request)
            windows: tuple[Window, ...] = ()
            if may_see_windows:
                try:
                    windows = _windows_of(now, await client.windows())
                except Forbidden:
                    may_see_windows = False
            update = Update(now, await client.why(request), windows)
            if before is None or _timeless(update) != _timeless(before):
                yield update
            if now.status.is_terminal:
                return
            before = update


def _timeless(update: Update) -> Update:
    """That time has passed is no news."""
    return replace(update, answer=replace(update.answer, at=0))


def _windows_of(request: "RequestView", windows: tuple[Window, ...]) -> tuple[Window, ...]:
    places = {("collection", str(collection.id)) for collection in request.collections}
    places |= {("rse", collection.rse) for collection in request.collections if collection.rse}
    return tuple(window for window in windows if (window.kind, window.ref) in places)
