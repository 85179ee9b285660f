"""Taking requests in, and orders about them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.request import Principal, Request, Terms
from idds.domain.statuses import Intent, SourceKind
from idds.domain.task import Task
from idds.domain.workflow import Workflow
from idds.engine import graph
from idds.engine import request as engine
from idds.engine import transform as transform_engine
from idds.engine.stopping import against_beginning_with
from idds.engine.study_size import is_large
from idds.ports.wakeups import Channel
from idds.search import feasibility
from idds.services.access import acting_for
from idds.services.announcing import tell_request
from idds.services.discretion import named
from idds.services.expiring import Lifetimes
from idds.services.grouping import Grouping
from idds.services.studies import submitted
from idds.store.audit import CALL
from idds.store.database import Database, Transaction
from idds.store.requests import NO_TERMS, digest

_VERBS = {Intent.RUN: "resume", Intent.SUSPEND: "suspend", Intent.CANCEL: "cancel", Intent.FINISH: "finish"}


@dataclass(frozen=True, slots=True)
class Offer:
    """What this service has: names that a workflow document may use."""

    providers: frozenset[str]
    disks: frozenset[str]
    samplers: frozenset[str]


class WrongWorkflow(InvalidInput):
    """The workflow document cannot be carried out: pointers lead into it."""


class KeyTaken(Conflict):
    """This key came with something else before: it is that request's."""

    def __init__(self, request: RequestId) -> None:
        super().__init__("this Idempotency-Key came with another document, or other terms, before")
        self.request = request


ANY_TIME = Lifetimes()
MAX_TOLD = 100
"""Of so many works at most the audit log tells."""


MOST_AT_ONCE = 100
"""So many requests are recorded in one transaction at most."""


@dataclass(frozen=True, slots=True)
class _Submitted:
    """A request to be recorded: by whom, whose, and in which call."""

    submitter: Principal
    principal: Principal
    workflow: Workflow
    terms: Terms
    idempotency_key: str | None
    task: Task | None
    call: str | None

    @property
    def place(self) -> tuple[str, str, str]:
        """Where in the order of keys; before them all where it has none."""
        key = self.idempotency_key
        return ("", "", "") if key is None else (self.principal.vo, self.principal.owner, key)


class Submission:
    """What the API does for who submits. Requests that come at a time are recorded together."""

    def __init__(self, database: Database, offer: Offer, lifetimes: Lifetimes = ANY_TIME) -> None:
        self._database = database
        self._offer = offer
        self._lifetimes = lifetimes
        self._groups: Grouping[None, _Submitted, tuple[Request, bool]] = Grouping(
            self._record_all, MOST_AT_ONCE, lambda _: 1
        )

    async def submit(
        self,
        principal: Principal,
        workflow: Workflow,
        terms: Terms = NO_TERMS,
        *,
        owner: str | None = None,
        idempotency_key: str | None = None,
        task: Task | None = None,
    ) -> tuple[Request, bool]:
        """Record a request; with False when this key brought the same document under the same terms before.

        It is the principal's own, or another `owner`'s of its VO, whose keys count then; the `task` of a workload
        manager is told of it in that one's words. Raises WrongWorkflow with everything that is wrong in it,
        InvalidInput for the terms, Conflict when the key came with something else, and Forbidden where the principal
        may not submit for this owner.
        """
        # In a thread, where it takes long: others are served meanwhile.
        found = await asyncio.to_thread(graph.problems, workflow) if is_large(workflow) else graph.problems(workflow)
        if problems := [*found, *self._unknown(workflow)]:
            raise WrongWorkflow(problems)
        if problems := await _constraint_problems(workflow):
            raise WrongWorkflow(problems)
        if principal.shares is not None and terms.share not in principal.shares:
            allowed = ", ".join(sorted(principal.shares))
            raise InvalidInput([Problem("/share", f"this token submits to these only: {allowed}")])
        owned = acting_for(principal, owner)
        return await self._groups.order(
            None, _Submitted(principal, owned, workflow, terms, idempotency_key, task, CALL.get())
        )

    async def _record_all(self, _: None, submitted: Sequence[_Submitted]) -> list[tuple[Request, bool] | Exception]:
        answers: dict[int, tuple[Request, bool] | Exception] = {}
        async with self._database.transaction("api") as tx:
            # A key is a lock: two servers that are sent the same ones take them in the same order.
            for number, each in sorted(enumerate(submitted), key=lambda one: one[1].place):
                try:
                    answers[number] = await self._record(tx, each)
                except (InvalidInput, Conflict) as error:  # raised before anything of it is written
                    answers[number] = error
        return [answers[number] for number in range(len(submitted))]

    async def _record(self, tx: Transaction, new: _Submitted) -> tuple[Request, bool]:
        await _check_warm_starts(tx, new)
        expires_at = self._lifetimes.end(new.terms.lifetime, tx.now)
        request = await tx.requests.add(
            new.workflow, new.principal, new.terms, idempotency_key=new.idempotency_key, expires_at=expires_at
        )
        if request is not None:
            if new.task is not None:
                await tx.tasks.add(request.id, new.task)
            tx.moves.record(f"request:{request.id}", "submitted", (None, request.status), request=request.id)
            if expires_at is not None:
                tx.wake(Channel.EXPIRY)
            details = {"name": request.name, "owner": request.owner, "share": request.share}
            CALL.set(new.call)
            tx.audit.record(new.submitter, "submit", f"request:{request.id}", details)
            return request, True
        assert new.idempotency_key is not None
        known = await tx.requests.by_key(new.principal, new.idempotency_key)
        assert known is not None
        if known[1] != digest(new.workflow, new.terms):
            raise KeyTaken(known[0].id)
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
            before = await _locked(tx, principal, request_id)
            if before.intent is intent:
                return before
            if not engine.may_order(before, intent):
                raise Conflict(_against_order(before, intent))
            after = engine.decide(before, engine.Ordered(intent), tx.now).entity
            await tx.requests.save(before, after, f"ordered by {named(principal)}")
            tx.audit.record(principal, _VERBS[intent], f"request:{request_id}")
            tx.requests.mark_due([request_id])
            if before.intent is Intent.SUSPEND:
                await tx.effects.hasten_all(request_id)
            return after

    async def retry(self, principal: Principal, request_id: RequestId, lifetime: int | None = None) -> Request:
        """Have a request go on with what did not succeed, as if it were new; what is done stays done.

        It has `lifetime` from now, in microseconds (None: the default). One that was retried and is under way stays
        as it is. Raises NotFound, Conflict where there is nothing to retry, and InvalidInput.
        """
        async with self._database.transaction("api") as tx:
            expires_at = self._lifetimes.end(lifetime, tx.now)
            before = await _locked(tx, principal, request_id)
            if engine.runs_again(before):
                return before
            transforms = {transform.work: transform for transform in await tx.transforms.of_request(request_id)}
            under_way = sum(transform.open_processings for transform in transforms.values())
            if reason := engine.against_retry(before, under_way):
                raise Conflict(f"request {request_id} cannot be retried: {reason}")
            works = {name: transform.status for name, transform in transforms.items()}
            decision = engine.decide(before, engine.Retried(works, expires_at), tx.now)
            after = decision.entity
            await tx.requests.save(before, after, "retried")
            for instruction in decision.instructions:
                transform = transforms[instruction.work]
                work = before.workflow.work(transform.work)
                again = transform_engine.decide(transform, work, transform_engine.Renewed(), tx.now).entity
                tx.transforms.save(transform, again, "retried")
            await tell_request(tx, after)
            renewed = [instruction.work for instruction in decision.instructions[:MAX_TOLD]]
            tx.audit.record(principal, "retry", f"request:{request_id}", {"works": renewed})
            tx.requests.mark_due([request_id])
            tx.wake(Channel.EXPIRY)
            return after

    async def extend(self, principal: Principal, request_id: RequestId, lifetime: int | None) -> Request:
        """Give a request this time from now, in microseconds; None: for ever.

        Raises NotFound, Conflict where it is too late, and InvalidInput.
        """
        async with self._database.transaction("api") as tx:
            expires_at = self._lifetimes.exact_end(lifetime, tx.now)
            before = await _locked(tx, principal, request_id)
            if reason := engine.against_extension(before, tx.now):
                raise Conflict(f"request {request_id} cannot be extended: {reason}")
            after = engine.decide(before, engine.Extended(expires_at), tx.now).entity
            await tx.requests.save(before, after, "extended")
            tx.audit.record(principal, "extend", f"request:{request_id}", {"expires_at": expires_at})
            tx.wake(Channel.EXPIRY)
            return after


async def _check_warm_starts(tx: Transaction, new: _Submitted) -> None:
    """Raises WrongWorkflow where a study is to begin with one that the submitter does not see, or that is after
    something else: its results would teach the contrary, or nothing.
    """
    for index, work in enumerate(new.workflow.works):
        samples = work.samples
        start = samples.warm_start if samples is not None else None
        if start is None or start.study is None:
            continue
        found = await tx.collections.get(CollectionId(start.study), new.submitter)
        place = f"/works/{index}/input/samples/warm_start/study"
        if found is None or found.source is not SourceKind.SAMPLES:
            raise WrongWorkflow([Problem(place, f"there is no study {start.study}")])
        assert samples is not None
        theirs = await submitted(tx, found)
        if reason := against_beginning_with(theirs, samples):
            raise WrongWorkflow([Problem(place, f"study {start.study} {reason}")])


async def _constraint_problems(workflow: Workflow) -> list[Problem]:
    """Of studies that are sound otherwise: this takes drawing points, in a thread."""
    found: list[Problem] = []
    for index, work in enumerate(workflow.works):
        if work.input is not None and work.input.samples is not None and work.input.samples.constraints:
            found += await asyncio.to_thread(feasibility.problems, work.input.samples, f"/works/{index}/input/samples")
    return found


async def _locked(tx: Transaction, principal: Principal, request_id: RequestId) -> Request:
    await tx.requests.lock([request_id])
    request = await tx.requests.get(request_id, principal)
    if request is None:
        raise NotFound(f"there is no request {request_id}")
    return request


def _against_order(request: Request, intent: Intent) -> str:
    if request.status.is_terminal:
        return f"request {request.id} has ended {request.status} already"
    return f"request {request.id} is {request.status}, ordered to {request.intent}: it cannot be ordered to {intent}"
