"""Calls about the carousel: how it runs, when files will have come, and the orders of operators."""

from typing import Any

from idds.domain.carousel import Carousel, RequestForecast, Touched
from idds.domain.hold import Hold, HoldKind
from idds.sdk.calls import Calls
from idds.sdk.exchange import Call


class CarouselCalls(Calls):
    """The carousel. With `dry_run` an order only tells what it would touch, and changes nothing."""

    async def carousel(self) -> Carousel:
        """Every tape and disk: what comes, how fast, what waits, and what is held."""
        return await self._ask(Carousel, Call("GET", "/v1/carousel"))

    async def forecast(self, request: int) -> RequestForecast:
        """When each input of a request will have come, and from what that is known."""
        return await self._ask(RequestForecast, Call("GET", f"/v1/carousel/requests/{request}"))

    async def holds(self) -> tuple[Hold, ...]:
        """The tapes and disks that are held."""
        return await self._ask(tuple[Hold, ...], Call("GET", "/v1/holds"), "holds")

    async def hold(self, kind: HoldKind | str, ref: str, reason: str, *, dry_run: bool = False) -> Touched:
        """Recall nothing more from a tape, or bring nothing more to a disk; what is under way goes on."""
        body = {"kind": HoldKind(kind), "ref": ref, "reason": reason}
        return await self._steer("/v1/carousel:hold", dry_run, body)

    async def resume_storage(self, kind: HoldKind | str, ref: str, *, dry_run: bool = False) -> Touched:
        """Use a tape or a disk again that is held."""
        return await self._steer("/v1/carousel:resume", dry_run, {"kind": HoldKind(kind), "ref": ref})

    async def change_window(
        self,
        *,
        rse: str | None = None,
        collection: int | None = None,
        bytes: int | None = None,  # noqa: A002
        files: int | None = None,
        reset: bool = False,
        dry_run: bool = False,
    ) -> Touched:
        """Give the window of an RSE, or of an input, other limits; None for none. They stand against the settings.

        With `reset` those of the settings, or of the workflow, hold again.
        """
        body = {"rse": rse, "collection": collection, "bytes": bytes, "files": files, "reset": reset}
        return await self._steer("/v1/carousel:change-window", dry_run, body)

    async def retire_unused(self, rse: str, idle_s: float, *, dry_run: bool = False) -> Touched:
        """Delete what was staged to a disk and nobody used for so many seconds."""
        return await self._steer("/v1/carousel:retire-unused", dry_run, {"rse": rse, "idle_s": idle_s})

    async def change_source(
        self, request: int, source: str, *, under_way: bool = False, dry_run: bool = False
    ) -> Touched:
        """Recall the files of a request from another tape; with `under_way` those being recalled, too."""
        body = {"source": source, "under_way": under_way}
        return await self._steer(f"/v1/requests/{request}:change-source", dry_run, body)

    async def change_destination(self, request: int, rse: str, *, dry_run: bool = False) -> Touched:
        """Bring those files of a request to another disk that are not admitted yet."""
        return await self._steer(f"/v1/requests/{request}:change-destination", dry_run, {"rse": rse})

    async def force_staging(self, request: int, *, dry_run: bool = False) -> Touched:
        """Admit what waits of a request next."""
        return await self._steer(f"/v1/requests/{request}:force-staging", dry_run)

    async def release(self, request: int, *, dry_run: bool = False) -> Touched:
        """Give up now what of a request is on disk and nobody has taken."""
        return await self._steer(f"/v1/requests/{request}:release", dry_run)

    async def _steer(self, path: str, dry_run: bool, body: dict[str, Any] | None = None) -> Touched:
        return await self._ask(Touched, Call("POST", path, {"dry_run": str(dry_run).lower()}, body=body))
