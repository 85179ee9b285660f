"""Advancing requests: those that are due, in one transaction each time."""

import structlog

from idds.domain.errors import Unavailable
from idds.domain.identifiers import RequestId
from idds.engine import request as engine
from idds.engine.retry import TRIES
from idds.services.announcing import tell_request
from idds.services.flow import Flow
from idds.services.placement import Placement
from idds.services.sources import abandon
from idds.store.database import Database, Transaction

AGENT = "transformer"
BATCH = 20
REASON = f"the service could not advance it in {TRIES} tries; its log tells more"

log = structlog.get_logger()


class Progress:
    """What the transformer does for requests."""

    def __init__(self, database: Database, placement: Placement) -> None:
        self._database = database
        self._placement = placement
        self._batch = BATCH

    async def step(self) -> int:
        """Advance requests that are due; how many. One that breaks the step fails alone, after bounded tries."""
        due: list[RequestId] = []
        try:
            async with self._database.transaction(AGENT) as tx:
                for request in await tx.requests.take_due(self._batch):
                    due.append(request.id)
                    if not request.status.is_terminal:
                        await Flow(tx, request, self._placement).advance()
        except Unavailable:
            raise
        except Exception:
            if not due:
                raise
            if len(due) == 1:
                await self._broke(due[0])
            self._batch = 1  # which of them it is shows when they go one by one
        else:
            if len(due) < self._batch:
                self._batch = BATCH
        return len(due)

    async def _broke(self, request: RequestId) -> None:
        log.exception("a request cannot be advanced", request=request)
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([request])
            if await tx.requests.count_failure(request) < TRIES:
                return
        try:
            async with self._database.transaction(AGENT) as tx:
                await abandon(tx, request, REASON)
        except Unavailable:
            raise
        except Exception:
            # Where even that breaks, the request ends all the same.
            log.exception("what belongs to a request cannot be given back", request=request)
        async with self._database.transaction(AGENT) as tx:
            await self._give_up(tx, request)

    async def _give_up(self, tx: Transaction, request: RequestId) -> None:
        await tx.requests.lock([request])
        before = await tx.requests.get(request)
        if before is None:
            return
        after = engine.decide(before, engine.Broke(REASON), tx.now).entity
        await tx.requests.save(before, after, "broke")
        await tell_request(tx, after)

    async def due_in(self) -> int | None:
        """In how many microseconds the next request is due."""
        async with self._database.snapshot(brief=True) as tx:
            return tx.distance(await tx.requests.next_due())
