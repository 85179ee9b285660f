"""Calls of who watches: requests over time, and files one by one."""

from idds.domain.series import Landings, RequestSeries
from idds.domain.story import Story, Troubles
from idds.sdk.calls import Calls
from idds.sdk.exchange import Call


class WatchingCalls(Calls):
    """What happened when, and to what."""

    async def series(self, request: int) -> RequestSeries:
        """A request over time: files staged, processed and released, bytes on disk, what landed a second."""
        return await self._ask(RequestSeries, Call("GET", f"/v1/requests/{request}/series"))

    async def landings(self, span_s: int = 3 * 3600) -> Landings:
        """What landed on disk within the last so many seconds, over time, by source."""
        return await self._ask(Landings, Call("GET", "/v1/landings", query={"span_s": str(span_s)}))

    async def content(self, content: int) -> Story:
        """A content, its replica, and what happened to both."""
        return await self._ask(Story, Call("GET", f"/v1/contents/{content}"))

    async def troubles(self, request: int) -> Troubles:
        """The files of a request that are longest on their way, and those that failed or went missing last."""
        return await self._ask(Troubles, Call("GET", f"/v1/requests/{request}/troubles"))
