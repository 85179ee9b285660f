"""Processings on providers: submitted, polled, their results collected, cancelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from idds.domain.content import Content, Outcome
from idds.domain.effect import Effect
from idds.domain.errors import Unavailable
from idds.domain.identifiers import ContentId, Handle
from idds.domain.job import JobSpec, JobState, Rejected, Submission, Submitted, Unknown
from idds.domain.processing import Processing, lessee_of
from idds.domain.request import Request
from idds.domain.statuses import EffectKind, Intent, JobStatus, Status
from idds.domain.workflow import Samples, Work
from idds.engine import processing as engine
from idds.engine.decision import Decision
from idds.engine.reporting import settled
from idds.engine.retry import TRIES
from idds.ports.provider import Provider
from idds.services.announcing import describe
from idds.services.collecting import Collected, Collecting, failed
from idds.services.settlement import add_outputs, cancellation, carry_out
from idds.store.carousel import Carousel
from idds.store.database import Database, Transaction
from idds.store.effects import Fenced

AGENT = "carrier"
LEASE = 30_000_000
AT_ONCE = 100
GONE_TRIES = 11
"""So often, which takes eight minutes and a half, a job is to be cancelled on a provider that is in no settings any
more. Then it is given up as lost."""
SUSPENDED_PAUSE = 600_000_000
AWAY_PAUSE = 60_000_000
"""What lands wakes who waits for it; what is given up does not."""
"""Who orders it to go on has it submitted at once."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Order:
    """A submission to be made: the effect, and all that it takes."""

    effect: Effect
    processing: Processing
    request: Request
    work: Work
    contents: tuple[Content, ...]
    spec: JobSpec


class Execution:
    """What the carrier does for processings."""

    def __init__(
        self, database: Database, providers: Mapping[str, Provider], collecting: Collecting, owner: str
    ) -> None:
        self._database = database
        self._providers = providers
        self._collecting = collecting
        self._owner = owner

    async def submit(self) -> int:
        """Submit processings that wait for it; how many."""
        async with self._database.transaction(AGENT) as tx:
            claimed = await tx.effects.claim(EffectKind.SUBMIT, owner=self._owner, lease=LEASE, limit=AT_ONCE)
            orders = await self._orders(tx, claimed)
        by_provider: dict[str, list[_Order]] = {}
        for order in orders:
            by_provider.setdefault(order.processing.provider, []).append(order)
        for name, batch in sorted(by_provider.items()):
            await self._submit_apart(name, batch)
        return len(claimed)

    async def _orders(self, tx: Transaction, claimed: Sequence[Effect]) -> list[_Order]:
        if not claimed:
            return []
        effects = {effect.payload["processing"]: effect for effect in claimed}
        processings = await tx.processings.get(list(effects))
        held = await tx.contents.held_by([lessee_of(processing.id) for processing in processings])
        works = await _works(tx, processings)
        pinning = [content.id for each in held.values() for content in each if content.replica_id is not None]
        away = await Carousel(tx).on_their_way(pinning) if pinning else set()
        orders = []
        for processing in processings:
            request, work = works[processing.id]
            effect = effects[processing.id]
            contents = tuple(held[lessee_of(processing.id)])
            if processing.attempt != effect.attempt or processing.status is not Status.NEW:
                await tx.effects.finish([effect])
            elif request.intent is Intent.SUSPEND and processing.intent is Intent.RUN:
                await tx.effects.postpone([effect], None, SUSPENDED_PAUSE)
            elif away & {content.id for content in contents} and processing.intent is Intent.RUN:
                # Its files were there, and are brought again: an attempt without them would be spent for nothing.
                await tx.effects.postpone([effect], None, AWAY_PAUSE)
            else:
                paths = await tx.contents.paths([c.id for c in contents if c.replica_id is not None])
                documents = [describe(content, paths.get(content.id)) for content in contents]
                spec = _spec(processing, work, documents)
                orders.append(_Order(effect, processing, request, work, contents, spec))
        return orders

    async def _submit_apart(self, name: str, orders: Sequence[_Order]) -> None:
        """Submit them together; one by one where that breaks, so that one that breaks it harms no other."""
        provider = self._providers.get(name)
        error: str
        try:
            if provider is None:
                reason = f"there is no provider {name!r}; there are: {', '.join(sorted(self._providers))}"
                await self._record(orders, [Rejected(reason)] * len(orders), None)
            else:
                await self._record(orders, await _outcomes(provider, orders), provider)
        except Unavailable as unavailable:
            error = str(unavailable)
        except Fenced:
            raise
        except Exception as defect:
            log.exception("a submission breaks", provider=name, processings=[o.processing.id for o in orders])
            if len(orders) > 1:
                for order in orders:
                    await self._submit_apart(name, [order])
                return
            error = f"the provider breaks on it ({type(defect).__name__})"
            if orders[0].effect.tries >= TRIES:
                await self._record(orders, [Rejected(error)], provider)
                return
        else:
            return
        async with self._database.transaction(AGENT) as tx:
            await tx.effects.postpone([order.effect for order in orders], error)

    async def _record(
        self, orders: Sequence[_Order], outcomes: Sequence[Submission | None], provider: Provider | None
    ) -> None:
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([order.request.id for order in orders])
            fresh = {p.id: p for p in await tx.processings.get([order.processing.id for order in orders])}
            for order, outcome in zip(orders, outcomes, strict=True):
                current = replace(order, processing=fresh[order.processing.id])
                await self._record_submission(tx, current, outcome, provider)

    async def _record_submission(
        self, tx: Transaction, order: _Order, outcome: Submission | None, provider: Provider | None
    ) -> None:
        ids = tuple(content.id for content in order.contents)
        match outcome:
            case None:
                await tx.effects.finish([order.effect])
                decision = engine.decide(order.processing, order.work.attempts, engine.Dropped(ids), tx.now)
                await self._save(tx, order.processing, decision, "dropped")
            case Submitted(handle):
                await tx.effects.finish([order.effect])
                decision = engine.decide(order.processing, order.work.attempts, engine.Accepted(handle), tx.now)
                assert provider is not None
                # A job may have ended before its handle was known here: the hint came too early.
                await tx.processings.save(order.processing, decision.entity, "submitted", poll_at=tx.now)
                if decision.entity.intent is Intent.CANCEL:
                    cancel = cancellation(order.processing.id, order.processing.attempt)
                    tx.effects.add([cancel], order.request.id)
            case Rejected(reason, transient=False):
                await tx.effects.finish([order.effect])
                declined = engine.Declined(f"{order.processing.provider}: {reason}", ids)
                decision = engine.decide(order.processing, order.work.attempts, declined, tx.now)
                await self._save(tx, order.processing, decision, "declined")
            case Rejected(reason) | Unknown(reason):
                await tx.effects.postpone([order.effect], reason)

    async def _save(
        self,
        tx: Transaction,
        before: Processing,
        decision: Decision[Processing, engine.Instruction],
        event: str,
    ) -> bool:
        """Write a decision and what follows from it; False when somebody else was first."""
        after = decision.entity
        if not await tx.processings.save(before, after, event):
            return False
        await carry_out(tx, decision)
        if after.status.is_terminal:
            tx.transforms.count_processings(after.transform_id, -1)
            tx.requests.mark_due([after.request_id])
        return True

    async def poll(self, name: str, hinted: Sequence[Handle]) -> int:
        """Ask a provider about processings that are due or hinted at, and take in those that ended; how many asked."""
        provider = self._providers[name]
        async with self._database.transaction(AGENT) as tx:
            limit = provider.capabilities.max_batch
            claimed = await tx.processings.claim_to_poll(name, hinted, owner=self._owner, lease=LEASE, limit=limit)
        if not claimed:
            return 0
        await self._look(provider, claimed)
        return len(claimed)

    async def _look(self, provider: Provider, claimed: Sequence[tuple[Processing, int]]) -> None:
        """Ask about them and take in what ended; by halves where that breaks, so that one harms no other."""
        pause = provider.capabilities.min_poll_interval
        states: Mapping[Handle, JobState] = {}
        try:
            states = await provider.poll([p.handle for p, _ in claimed if p.handle is not None])
            ended = [(p, state) for p, state in _with_states(claimed, states) if state.status.is_terminal]
            await self._take_in(claimed, states, await self._collecting.collect(provider, ended), pause)
        except Unavailable:
            async with self._database.transaction(AGENT) as tx:
                await tx.processings.poll_again(claimed, pause)
            raise
        except Exception as error:
            log.exception("taking in jobs breaks", processings=[processing.id for processing, _ in claimed])
            if len(claimed) > 1:
                middle = len(claimed) // 2
                await self._look(provider, claimed[:middle])
                await self._look(provider, claimed[middle:])
                return
            reason = f"what it left cannot be taken in ({type(error).__name__})"
            broken: dict[int, Collected] = {
                p.id: Collected(p.attempt, failed(state, reason))
                for p, state in _with_states(claimed, states)
                if state.status.is_terminal
            }
            await self._take_in(claimed, states if broken else {}, broken, pause)

    async def _take_in(
        self,
        claimed: Sequence[tuple[Processing, int]],
        states: Mapping[Handle, JobState],
        collected: Mapping[int, Collected],
        pause: int,
    ) -> None:
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([processing.request_id for processing, _ in claimed])
            going_on = [pair for pair in claimed if pair[0].id not in collected]
            await tx.processings.poll_again(going_on, pause)
            for processing, state in _with_states(going_on, states):
                decision = engine.decide(processing, 1, engine.Observed(state), tx.now)
                if decision.entity.status is not processing.status:
                    await tx.processings.save(processing, decision.entity, "running", poll_at=tx.now + pause)
            await self._settle(tx, collected)

    async def _settle(self, tx: Transaction, collected: Mapping[int, Collected]) -> None:
        fresh = await tx.processings.get(list(collected))
        works = await _works(tx, fresh)
        held = await tx.contents.held_by([lessee_of(processing.id) for processing in fresh])
        for processing in fresh:
            result = collected[processing.id]
            if processing.attempt != result.attempt or processing.status.is_terminal:
                continue
            ids = tuple(content.id for content in held[lessee_of(processing.id)])
            _request, work = works[processing.id]
            samples = work.samples
            outcomes = result.outcomes if samples is None else _of_samples(samples, ids, result)
            event = engine.Ended(result.state, ids, outcomes)
            decision = engine.decide(processing, work.attempts, event, tx.now)
            told = [outcome for outcome in outcomes.values() if outcome.done and outcome.content_id in ids]
            await tx.contents.note_events({o.content_id: o.events for o in told if o.events is not None})
            if not await self._save(tx, processing, decision, "ended"):
                continue
            if samples is not None:
                tx.samples.note_results(told)
            if result.outputs:
                assert result.collection is not None
                assert result.rse is not None
                await add_outputs(tx, result.collection, result.rse, result.outputs)

    async def cancel(self) -> int:
        """Have jobs ended that nobody wants any more; how many. That they ended is learned by polling."""
        async with self._database.transaction(AGENT) as tx:
            claimed = await tx.effects.claim(EffectKind.CANCEL, owner=self._owner, lease=LEASE, limit=AT_ONCE)
            processings = await tx.processings.get([effect.payload["processing"] for effect in claimed])
        meant = {(effect.payload["processing"], effect.attempt): effect.tries for effect in claimed}
        gone: list[Processing] = []
        handles: dict[str, dict[int, Handle]] = {}
        for processing in processings:
            # One that was ordered for an attempt before is not for this one.
            tries = meant.get((processing.id, processing.attempt))
            if processing.handle is None or processing.status.is_terminal or tries is None:
                continue
            if processing.provider not in self._providers and tries >= GONE_TRIES:
                gone.append(processing)
            else:
                handles.setdefault(processing.provider, {})[processing.id] = processing.handle
        errors: dict[int, str] = {}
        for name, of_one in sorted(handles.items()):
            if (error := await self._cancel(name, list(of_one.values()))) is not None:
                errors.update(dict.fromkeys(of_one, f"{name}: {error}"))
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([processing.request_id for processing in gone])
            await self._settle(tx, {processing.id: _given_up(processing, tx.now) for processing in gone})
            for effect in claimed:
                if (reason := errors.get(effect.payload["processing"])) is not None:
                    await tx.effects.postpone([effect], reason)
                else:
                    await tx.effects.finish([effect])
        return len(claimed)

    async def _cancel(self, name: str, handles: Sequence[Handle]) -> str | None:
        """Why it could not be ordered, if so."""
        provider = self._providers.get(name)
        if provider is None:
            return "there is no such provider any more"
        try:
            await provider.cancel(handles)
        except Unavailable as error:
            return str(error)
        except Exception as error:
            # The orders to other providers must not wait behind this one.
            log.exception("a cancellation breaks", provider=name)
            return f"it breaks ({type(error).__name__})"
        return None


def _given_up(processing: Processing, now: int) -> Collected:
    reason = f"its provider {processing.provider!r} is gone: what became of its job is not known"
    return Collected(processing.attempt, JobState(JobStatus.LOST, now, "gone", reason=reason))


def _with_states(
    claimed: Sequence[tuple[Processing, int]], states: Mapping[Handle, JobState]
) -> list[tuple[Processing, JobState]]:
    return [(p, states[p.handle]) for p, _ in claimed if p.handle is not None and p.handle in states]


def _of_samples(samples: Samples, ids: Sequence[ContentId], result: Collected) -> dict[ContentId, Outcome]:
    """What came of samples, those too of which nothing was said by a job that succeeded: no result is a failure."""
    is_good = result.state.status is JobStatus.SUCCEEDED
    told = {each: Outcome(each, 0, done=True) for each in ids if is_good} | dict(result.outcomes)
    return {content: settled(samples, outcome) for content, outcome in told.items()}


async def _outcomes(provider: Provider, orders: Sequence[_Order]) -> list[Submission | None]:
    """What came of each: submitted; or, where it was cancelled meanwhile, only looked for. None: there is no job."""
    wanted = [order for order in orders if order.processing.intent is not Intent.CANCEL]
    unwanted = [order.spec.key for order in orders if order.processing.intent is Intent.CANCEL]
    known = await provider.find(unwanted) if unwanted else {}
    submitted = await provider.submit([order.spec for order in wanted]) if wanted else []
    outcomes: dict[str, Submission | None] = {key: Submitted(known[key]) if key in known else None for key in unwanted}
    outcomes.update({order.spec.key: outcome for order, outcome in zip(wanted, submitted, strict=True)})
    return [outcomes[order.spec.key] for order in orders]


async def _works(tx: Transaction, processings: Sequence[Processing]) -> dict[int, tuple[Request, Work]]:
    """The request and the work of each."""
    found = await tx.requests.of_processings([processing.id for processing in processings])
    return {processing: (request, request.workflow.work(name)) for processing, (request, name) in found.items()}


def _spec(processing: Processing, work: Work, contents: Sequence[Mapping[str, object]]) -> JobSpec:
    assert work.payload is not None
    document = {
        "processing": processing.id,
        "attempt": processing.attempt,
        "contents": [{k: v for k, v in content.items() if k != "reason"} for content in contents],
        "outputs": "outputs",
    }
    return JobSpec(processing.key, work.payload, work.resources, document)
