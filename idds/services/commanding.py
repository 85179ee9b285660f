"""The user's own search algorithm: a steering command, run on a provider each time that samples are to be drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from idds.domain.collection import Collection
from idds.domain.effect import Effect
from idds.domain.errors import IddsError, Unavailable
from idds.domain.identifiers import CollectionId, Handle
from idds.domain.job import JobSpec, JobState, Rejected, Submission, Submitted, Unknown
from idds.domain.space import Point
from idds.domain.statuses import EffectKind, JobStatus
from idds.domain.workflow import Payload, Samples, Steering
from idds.engine import steering_points
from idds.engine.retry import TRIES, backoff
from idds.ports.provider import Provider
from idds.ports.sampler import Known, Origin, State, Suggestion
from idds.services.announcing import tell_collection_closed
from idds.services.drawing import command, not_drawn, register_drawn
from idds.services.sources import give_up
from idds.services.studies import Definition, definition, given_with
from idds.store.database import Database
from idds.store.effects import Fenced

AGENT = "carrier"
LEASE = 30_000_000
AT_ONCE = 20
SHORTEST_PAUSE = 250_000
"""Microseconds between two looks at a command that runs, unless its provider hints at it."""
TAIL = 2000
"""Bytes of what a command that failed said at the end."""

log = structlog.get_logger()


class CommandFailure(Exception):
    """The command came to a bad end, or wrote nothing that can be read; why."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A command to be run: the order, and all that it takes."""

    effect: Effect
    study: Collection
    defined: Definition
    steering: Steering

    @property
    def first(self) -> int:
        return int(self.effect.payload["first"])

    @property
    def count(self) -> int:
        return int(self.effect.payload["count"])

    @property
    def attempt(self) -> int:
        return int(self.effect.payload["attempt"])

    @property
    def samples(self) -> Samples:
        return self.defined.samples

    @property
    def key(self) -> str:
        """Under which a provider knows its job: whoever takes the order over finds it.

        What is asked for again as the request is retried is a job of its own.
        """
        retry = self.effect.payload.get("retry")
        told_apart = [self.study.id, self.first, self.attempt, *([] if retry is None else [retry])]
        return "-".join(["steering", *map(str, told_apart)])


class Commanding:
    """What the carrier does for studies with an algorithm of the user's."""

    def __init__(self, database: Database, providers: Mapping[str, Provider], default: str, owner: str) -> None:
        self._database = database
        self._providers = providers
        self._default = default
        self._owner = owner
        self._watched: dict[Handle, str] = {}
        self._hinted: set[str] = set()

    def hint(self, handles: Sequence[Handle]) -> bool:
        """These jobs changed: their commands are looked at in the next step. Whether there are any."""
        found = {self._watched.pop(handle) for handle in handles if handle in self._watched}
        self._hinted |= found
        return bool(found)

    async def step(self) -> int:
        """Begin commands that are ordered, look at those that run, and take in what they drew; how many orders."""
        hinted = frozenset(self._hinted)
        async with self._database.transaction(AGENT) as tx:
            for entity in sorted(hinted):
                await tx.effects.hasten(entity, [EffectKind.STEER])
            claimed = await tx.effects.claim(EffectKind.STEER, owner=self._owner, lease=LEASE, limit=AT_ONCE)
        self._hinted -= hinted
        for effect in claimed:
            try:
                await self._carry_on(effect)
            except Fenced:
                continue
            except Unavailable as unavailable:
                await self._postpone(effect, str(unavailable))
            except Exception as defect:
                # Other studies must not wait behind this one.
                log.exception("a steering command breaks the service", collection=effect.entity, tries=effect.tries)
                await self._break(effect, type(defect).__name__)
        return len(claimed)

    async def _carry_on(self, effect: Effect) -> None:
        run = await self._read(effect)
        provider = self._providers.get(run.steering.provider or self._default)
        if provider is None:
            reason = f"there is no provider {run.steering.provider or self._default!r}"
            async with self._database.transaction(AGENT) as tx:
                await give_up(tx, effect, "input/samples/steering/provider", reason)
            return
        handle = (await provider.find([run.key])).get(run.key)
        if run.study.is_closed:
            await self._let_go(run, provider, handle)
        elif run.first < len(run.samples.initial):
            await self._record(run, run.samples.initial[run.first : run.first + run.count], Origin.INITIAL)
        elif handle is None:
            await self._begin(run, provider)
        else:
            await self._look(run, provider, handle)

    async def _read(self, effect: Effect) -> _Run:
        async with self._database.snapshot(timeless=True) as tx:
            study = await tx.collections.get(CollectionId(int(effect.entity.partition(":")[2])))
            assert study is not None
            defined = await definition(tx, study)
        assert defined.samples.steering is not None
        return _Run(effect, study, defined, defined.samples.steering)

    async def _let_go(self, run: _Run, provider: Provider, handle: Handle | None) -> None:
        """Nobody wants its points any more."""
        if handle is not None:
            if not (await provider.poll([handle]))[handle].status.is_terminal:
                self._watched[handle] = run.effect.entity
                await provider.cancel([handle])
                await self._postpone(run.effect, None, _pause(provider))
                return
            await provider.forget([handle])
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([run.study.request_id])
            study = await tx.collections.get(run.study.id)
            assert study is not None
            if study.is_closed:
                await tx.effects.finish([run.effect])
            else:  # its request was retried meanwhile, and waits for this order
                await tx.effects.postpone([run.effect], None, delay=0)

    async def _begin(self, run: _Run, provider: Provider) -> None:
        async with self._database.snapshot(timeless=True) as tx:
            _, known = await tx.samples.news(run.study.id, None)
            given = await given_with(tx, run.samples)
        argv = steering_points.argv(run.steering, points=run.count, most=run.samples.count)
        payload = Payload(argv=argv, environment=run.steering.environment)
        points = [(each.suggestion.parameters, _loss(each)) for each in (*given, *known)]
        document = steering_points.document(run.samples, points)
        spec = JobSpec(run.key, payload, run.steering.resources, document)
        outcome: Submission = (await provider.submit([spec]))[0]
        match outcome:
            case Submitted(handle):
                await self._look(run, provider, handle)
            case Rejected(reason, transient=False):
                async with self._database.transaction(AGENT) as tx:
                    await give_up(tx, run.effect, "input/samples/steering", reason)
            case Rejected(reason) | Unknown(reason):
                await self._postpone(run.effect, reason)

    async def _look(self, run: _Run, provider: Provider, handle: Handle) -> None:
        # Before it is asked: what changes from then on is hinted at.
        self._watched[handle] = run.effect.entity
        state = (await provider.poll([handle]))[handle]
        if not state.status.is_terminal:
            await self._postpone(run.effect, None, _pause(provider))
            return
        self._watched.pop(handle, None)
        try:
            points = await _points(run, provider, handle, state)
        except CommandFailure as failure:
            await self._try_again(run, str(failure))
        else:
            await self._record(run, points, Origin.SAMPLER)
        await provider.forget([handle])

    async def _record(self, run: _Run, points: Sequence[Point], origin: Origin) -> None:
        """Make the points samples. Fewer than were wanted are taken for what they are; none end the study."""
        drawn = [Suggestion(run.first + n, {**run.samples.fixed, **p}, origin) for n, p in enumerate(points)]
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([run.study.request_id])
            await tx.effects.finish([run.effect])
            place = await tx.collections.place(run.study.id)
            assert place is not None
            study = place.collection
            if study.is_closed:
                return
            await register_drawn(tx, place, drawn, run.defined.version)
            await not_drawn(tx, study, run.count - len(drawn))
            if not drawn and await tx.collections.close(study, "its steering command has no more points"):
                await tell_collection_closed(tx, study.id)

    async def _try_again(self, run: _Run, reason: str) -> None:
        """The next attempt is a job of its own."""
        log.warning("a steering command failed", collection=run.effect.entity, attempt=run.attempt, reason=reason)
        async with self._database.transaction(AGENT) as tx:
            # What is added to the order's request waits for that lock: before the order's, as everybody takes them.
            await tx.requests.lock([run.study.request_id])
            if run.attempt >= TRIES:
                await give_up(tx, run.effect, "input/samples/steering", reason)
                return
            await tx.effects.finish([run.effect])
            delay = backoff(run.attempt)
            again = command(run.effect.entity, run.effect.payload, run.attempt + 1, delay=delay, before=reason)
            tx.effects.add([again], run.effect.request_id)

    async def _postpone(self, effect: Effect, error: str | None, delay: int | None = None) -> None:
        async with self._database.transaction(AGENT) as tx:
            await tx.effects.postpone([effect], error, delay)

    async def _break(self, effect: Effect, kind: str) -> None:
        reason = f"the service breaks on its steering command ({kind})"
        if effect.tries < TRIES:
            await self._postpone(effect, reason)
            return
        async with self._database.transaction(AGENT) as tx:
            await give_up(tx, effect, "input/samples/steering", reason)


def _loss(known: Known) -> float | None:
    return known.values[0] if known.state is State.DONE and known.values else None


async def _points(run: _Run, provider: Provider, handle: Handle, state: JobState) -> list[Point]:
    """What the command wrote. Raises CommandFailure."""
    if state.status is not JobStatus.SUCCEEDED:
        reason = state.reason or ""
        said = await _last_words(provider, handle) or ""
        # Many a provider has it in its reason already.
        raise CommandFailure(": ".join(filter(None, ["it failed", reason, "" if said in reason else said])))
    try:
        body = await provider.result(handle)
        if body is None:
            raise CommandFailure("it wrote nothing to %OUT")
        return steering_points.read(body, run.samples.fixed, run.count)
    except steering_points.Unreadable as unreadable:
        raise CommandFailure(str(unreadable)) from None
    except Unavailable:
        raise
    except IddsError as error:
        raise CommandFailure(str(error)) from None


async def _last_words(provider: Provider, handle: Handle) -> str | None:
    """The last line of what it said about its errors."""
    try:
        chunk = await provider.logs(handle, "stderr", offset=-TAIL, limit=TAIL)
    except IddsError:
        return None
    lines = chunk.bytes.decode("utf-8", "replace").replace("\0", " ").strip().splitlines()
    return lines[-1][:300] if lines else None


def _pause(provider: Provider) -> int:
    return max(provider.capabilities.min_poll_interval, SHORTEST_PAUSE)
