"""Taking requests in, and orders about them."""

from dataclasses import dataclass

from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import RequestId
from idds.domain.request import Principal, Request
from idds.domain.statuses import Intent
from idds.domain.workflow import Workflow
from idds.engine import graph
from idds.engine import request as engine
from idds.store.database import Database
from idds.store.requests import digest


@dataclass(frozen=True, slots=True)
class Offer:
    """What this service has: names that a workflow document may use."""

    providers: frozenset[str]
    disks: frozenset[str]
    samplers: frozenset[str]


class Submission:
    """What the API does for who submits."""

    def __init__(self, database: Database, offer: Offer) -> None:
        self._database = database
        self._offer = offer

    async def submit(
        self,
        principal: Principal,
        workflow: Workflow,
        *,
        idempotency_key: str | None = None,
        share: str = "",
        priority: int = 0,
    ) -> tuple[Request, bool]:
        """Record a request; with False when this key brought the same document before.

        Raises InvalidInput with everything that is wrong, and Conflict when the key came with another document.
        """
        if problems := [*graph.problems(workflow), *self._unknown(workflow)]:
            raise InvalidInput(problems)
        async with self._database.transaction("api") as tx:
            request = await tx.requests.add(
                workflow, principal, idempotency_key=idempotency_key, share=share, priority=priority
            )
            if request is not None:
                tx.moves.record(f"request:{request.id}", "submitted", (None, request.status), request=request.id)
                return request, True
            assert idempotency_key is not None
            known = await tx.requests.by_key(principal, idempotency_key)
            assert known is not None
            if known[1] != digest(workflow):
                raise Conflict("this Idempotency-Key came with another document before")
            return known[0], False

    def _unknown(self, workflow: Workflow) -> list[Problem]:
        found: list[Problem] = []
        for index, work in enumerate(workflow.works):
            place = f"/works/{index}"
            source, output = work.input, work.output
            names = [
                (f"{place}/provider", work.provider, self._offer.providers),
                (f"{place}/input/rse", source.rse if source else None, self._offer.disks),
                (f"{place}/output/rse", output.rse if output else None, self._offer.disks),
                (
                    f"{place}/input/samples/sampler",
                    source.samples.sampler if source and source.samples else None,
                    self._offer.samplers,
                ),
            ]
            found += [
                Problem(pointer, f"{name!r} is not known here; there are: {', '.join(sorted(known))}")
                for pointer, name, known in names
                if name is not None and name not in known
            ]
        return found

    async def order(self, principal: Principal, request_id: RequestId, intent: Intent) -> Request:
        """Order a request to run, pause, end early or stop. Repeating an order changes nothing.

        Raises NotFound, and Conflict where the order makes no sense any more.
        """
        async with self._database.transaction("api") as tx:
            await tx.requests.lock([request_id])
            before = await tx.requests.get(request_id, principal)
            if before is None:
                raise NotFound(f"there is no request {request_id}")
            if before.intent is intent:
                return before
            if not engine.may_order(before, intent):
                raise Conflict(f"request {request_id} is {before.status} with the order to {before.intent}")
            after = engine.decide(before, engine.Ordered(intent), tx.now).entity
            await tx.requests.save(before, after, f"ordered by {principal.owner}")
            tx.requests.mark_due([request_id])
            if before.intent is Intent.SUSPEND:
                await tx.effects.hasten_all(request_id)
            return after
