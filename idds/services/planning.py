"""Admission, planned for each disk over all requests: looking, planning, and carrying out what was chosen."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from idds.domain.errors import Unavailable
from idds.domain.identifiers import CollectionId
from idds.engine.planner import Demand, Plan, Standing, plan
from idds.engine.retry import backoff
from idds.services.admission import Outrun, admit, refuse
from idds.services.joining import Joining
from idds.services.standing import Rules, read_standing
from idds.store.database import Database

AGENT = "transformer"
BATCH = 1_000_000
HEADS, MOST_HEADS = 32, 2048
"""So many contents of each queue are looked at; more where those were not enough."""
FALLBACK = 5_000_000
"""Wake-ups may be lost: it is looked so often without them, in microseconds."""

log = structlog.get_logger()


class Planning:
    """What the transformer does for all that waits for room."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._heads: dict[str, int] = {}
        self._joining = Joining()
        self._broken: Counter[CollectionId] = Counter()
        self._left_alone: dict[CollectionId, int] = {}
        self._look_at = 0

    async def step(self) -> int:
        """Plan for each disk that something waits for; how many groups were admitted or refused."""
        async with self._database.snapshot() as tx:
            rses = await tx.demands.rses()
            self._look_at = tx.now + FALLBACK
            self._left_alone = {each: until for each, until in self._left_alone.items() if until > tx.now}
        did, more = 0, False
        for rse in rses:
            decided, again = await self._plan(rse)
            did, more = did + decided, more or again
        return BATCH if more else min(did, BATCH - 1)

    async def due_in(self) -> int | None:
        """In how many microseconds it looks again by itself."""
        async with self._database.snapshot() as tx:
            return tx.distance(self._look_at)

    async def _plan(self, rse: str) -> tuple[int, bool]:
        """How many groups were decided on, and whether there may be more to do at once."""
        async with self._database.snapshot() as tx:
            # Held until all is carried out: two that plan the same would be in each other's way. Who holds it was woken
            # by the same, and looks again.
            if not await tx.demands.claim(rse):
                return 0, False
            heads = self._heads.pop(rse, HEADS)
            standing = await read_standing(tx, rse, self._rules, heads=heads, without=self._left_alone.keys())
            standing = await self._joining.offer(tx, standing)
            made = plan(standing, self._rules.policy, tx.now)
            outrun = await self._carry_out(made)
        more = self._joining.settle(rse, standing, made)
        if made.again_at is not None:
            self._look_at = min(self._look_at, made.again_at)
        exhausted = _exhausted(standing, made)
        if exhausted:
            self._heads[rse] = min(4 * heads, MOST_HEADS)
        # What was admitted now is offered to whoever else wants it.
        more |= len(standing.demands) > 1 and any(each.files for each in made.admissions)
        return len(made.refusals) + sum(len(each.groups) for each in made.admissions), outrun or exhausted or more

    async def _carry_out(self, made: Plan) -> bool:
        """One transaction each; whether somebody else was faster in one of them."""
        outrun = False
        for admission in made.admissions:
            groups = [group.group_no for group in admission.groups]
            outrun |= await self._carry_out_for(admission.demand, partial(admit, groups=groups))
        for demand in {refusal.demand.collection: refusal.demand for refusal in made.refusals}.values():
            refusals = [each for each in made.refusals if each.demand is demand]
            outrun |= await self._carry_out_for(demand, partial(refuse, refusals=refusals))
        return outrun

    async def _carry_out_for(self, demand: Demand, act: Callable[..., Awaitable[object]]) -> bool:
        """Do this for one input; whether somebody else was faster."""
        collection = demand.collection
        try:
            async with self._database.transaction(AGENT) as tx:
                await act(tx, collection)
        except Outrun as error:
            log.debug("somebody else was faster", collection=collection, at=str(error))
            return True
        except Unavailable:
            raise
        except Exception:
            # Nobody else is to wait behind one that breaks: it is tried again after a growing pause.
            log.exception("an input cannot be admitted", collection=collection)
            await self._leave_alone(collection)
        else:
            del self._broken[collection]
        return False

    async def _leave_alone(self, collection: CollectionId) -> None:
        self._broken[collection] += 1
        async with self._database.snapshot() as tx:
            self._left_alone[collection] = tx.now + backoff(self._broken[collection])


def _exhausted(standing: Standing, made: Plan) -> bool:
    """Whether of some queue all was decided that was looked at, though there is more."""
    decided = {(each.demand.collection, group.group_no) for each in made.admissions for group in each.groups}
    decided |= {(refusal.demand.collection, refusal.group.group_no) for refusal in made.refusals}
    return any(
        each.more and each.heads and all((each.collection, group.group_no) in decided for group in each.heads)
        for each in standing.demands
    )
