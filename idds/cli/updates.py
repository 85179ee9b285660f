"""Where the watch gets its news from."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from idds.domain.errors import Forbidden
from idds.domain.replica import Window

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import RequestView


@dataclass(frozen=True, slots=True)
class Update:
    """A request as it is now, with the windows that bound it, where we may see them."""

    request: "RequestView"
    windows: tuple[Window, ...] = ()


async def updates(client: "Client", request: int, *, interval_s: float = 0.5) -> AsyncGenerator[Update, None]:
    """The request now, and each time something has changed, until it has ended."""
    before = None
    may_see_windows = True
    while True:
        now = await client.request(request)
        windows: tuple[Window, ...] = ()
        if may_see_windows:
            try:
                windows = _windows_of(now, await client.windows())
            except Forbidden:
                may_see_windows = False
        update = Update(now, windows)
        if update != before:
            yield update
        if now.status.is_terminal:
            return
        before = update
        await asyncio.sleep(interval_s)


def _windows_of(request: "RequestView", windows: tuple[Window, ...]) -> tuple[Window, ...]:
    places = {("collection", str(collection.id)) for collection in request.collections}
    places |= {("rse", collection.rse) for collection in request.collections if collection.rse}
    return tuple(window for window in windows if (window.kind, window.ref) in places)
