"""What operators order about the carousel. Each order is audited, stands in the history, and can be rehearsed first."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from idds.domain.carousel import Touched
from idds.domain.collection import Collection
from idds.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Problem
from idds.domain.hold import Hold, HoldKind
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.replica import Replica, Window
from idds.domain.request import Principal
from idds.domain.statuses import EffectKind, Relation, ReplicaStatus, SourceKind
from idds.domain.workflow import WindowLimits
from idds.engine.transitions import ContentEvent
from idds.ports.wakeups import Channel
from idds.services.announcing import follow, release
from idds.services.choosing import redirect
from idds.services.discretion import held_by, named
from idds.store.carousel import Carousel
from idds.store.contents import of_ids, pinned_to
from idds.store.database import Database, Transaction

AGENT = "operator"
AT_ONCE = 10_000
"""Of so many files at most one order disposes; `more` says that there are others."""


@dataclass(frozen=True, slots=True)
class Order:
    """Who orders, and whether it is only to be told what the order would touch: nothing is changed then."""

    principal: Principal
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the settings know: disk RSEs, their windows, and on which tape system a tape RSE sits."""

    disks: frozenset[str]
    windows: Mapping[str, WindowLimits] = field(default_factory=dict)
    tapes: Mapping[str, str] = field(default_factory=dict)


class _Rehearsed(Exception):
    """All was done, and is to be undone."""


def _end(order: Order) -> None:
    if order.dry_run:
        raise _Rehearsed


class Steering:
    """What the API does for operators. All raise NotFound, Conflict and InvalidInput, and change nothing then."""

    def __init__(self, database: Database, known: Known) -> None:
        self._database = database
        self._known = known

    @asynccontextmanager
    async def _ordered(self, order: Order) -> AsyncIterator[Transaction]:
        """A transaction that is undone where the order is only rehearsed: what it tells is true either way."""
        with suppress(_Rehearsed):
            async with self._database.transaction(AGENT) as tx:
                yield tx
                _end(order)

    async def holds(self, principal: Principal) -> Sequence[Hold]:
        """What is held."""
        async with self._database.snapshot(timeless=True) as tx:
            return held_by(principal, await tx.holds.all())

    async def hold(self, order: Order, kind: HoldKind, ref: str, reason: str) -> Touched:
        """Recall nothing more from a tape, or bring nothing more to a disk RSE; what is under way goes on."""
        _check_all_shares(order)
        if kind is HoldKind.RSE:
            self._check_disk("/ref", ref)
        async with self._ordered(order) as tx:
            told = await self._waiting(tx, order, "hold", kind, ref)
            if await tx.holds.add(kind, ref, reason=reason, owner=order.principal.owner) is None:
                (held,) = [each for each in await tx.holds.all() if (each.kind, each.ref) == (kind, ref)]
                return _says(told, f"it is held already, by {held.owner}: {held.reason}")
            entity = f"{kind}:{ref}"
            tx.moves.record(entity, "held", ("in service", "held"), request=None, reason=_by(order, reason))
            tx.audit.record(order.principal, "hold", entity, {"reason": reason})
            await _plan_anew(tx, told.requests)
            return _says(told, "these wait until it is resumed; what is under way goes on")

    async def resume(self, order: Order, kind: HoldKind, ref: str) -> Touched:
        """Have a tape or a disk RSE serve again."""
        _check_all_shares(order)
        async with self._ordered(order) as tx:
            told = await self._waiting(tx, order, "resume", kind, ref)
            if await tx.holds.remove(kind, ref) is None:
                return _says(told, "it is not held")
            entity = f"{kind}:{ref}"
            # What was under way all the time has not stalled: its clock begins anew.
            await Carousel(tx).restart_clocks(self._rses_of(ref) if kind is HoldKind.TAPE else None, ref)
            await tx.effects.hasten_kind(EffectKind.STAGE)
            tx.moves.record(entity, "resumed", ("held", "in service"), request=None, reason=_by(order))
            tx.audit.record(order.principal, "resume", entity)
            await _plan_anew(tx, told.requests)
            return _says(told, "these may be admitted again")

    def _check_disk(self, pointer: str, rse: str) -> None:
        if rse not in self._known.disks:
            known = ", ".join(sorted(self._known.disks))
            raise InvalidInput([Problem(pointer, f"{rse!r} is not known here; there are: {known}")])

    def _rses_of(self, tape: str) -> list[str]:
        """The tape RSEs that are meant by the name of one, or of the tape system that they sit on."""
        return sorted({tape, *(rse for rse, system in self._known.tapes.items() if system == tape)})

    async def _waiting(self, tx: Transaction, order: Order, verb: str, kind: HoldKind, ref: str) -> Touched:
        """What waits for admission from this tape, or to this disk."""
        carousel = Carousel(tx)
        found = await (
            carousel.waiting_from(self._rses_of(ref)) if kind is HoldKind.TAPE else carousel.waiting_for(ref)
        )
        requests = tuple(sorted({collection.request_id for collection in found}))
        files = sum(collection.unadmitted for collection in found)
        return Touched(verb, f"{kind}:{ref}", order.dry_run, requests, files)

    async def change_window(
        self, order: Order, *, rse: str | None, collection: CollectionId | None, limits: WindowLimits | None
    ) -> Touched:
        """Give the window of an RSE, or of an input, other limits; None: those of the settings, or of the workflow.

        It stands against the settings from now on, also after the service was started anew. A window that shrinks
        stops admission until enough was given back.
        """
        kind, ref = ("rse", rse) if rse is not None else ("collection", str(collection))
        if rse is not None:
            _check_all_shares(order)
        async with self._ordered(order) as tx:
            first, requests, waiting = await self._before(tx, order, kind, ref)
            wanted = limits if limits is not None else first
            if not await tx.windows.find([(kind, ref)]):
                if rse is None:
                    raise Conflict(f"collection {ref} has no window: it was submitted without one")
                # What was admitted to it so far counts in the new one.
                await tx.windows.declare(kind, ref, limit_bytes=None, limit_files=None)
            before = (await tx.windows.find([(kind, ref)]))[(kind, ref)]
            by = order.principal.owner if limits is not None else None
            after = await tx.windows.change(before.id, limit_bytes=wanted.bytes, limit_files=wanted.files, by=by)
            assert after is not None
            entity, change = f"{kind}:{ref}", f"{_limits(before)} -> {_limits(after)}"
            tx.moves.record(entity, "window", (_limits(before), _limits(after)), request=None, reason=_by(order))
            tx.audit.record(order.principal, "change-window", entity, {"change": change})
            await _plan_anew(tx, requests)
            told = Touched("change-window", entity, order.dry_run, tuple(sorted(requests)), waiting)
            return _says(told, f"the window was {_limits(before)} and becomes {_limits(after)}", _over(after))

    async def _before(
        self, tx: Transaction, order: Order, kind: str, ref: str
    ) -> tuple[WindowLimits, set[RequestId], int]:
        """The limits that rule where no operator does, whom the window concerns, and how many files wait for it."""
        if kind == "rse":
            self._check_disk("/rse", ref)
            found = await Carousel(tx).waiting_for(ref)
            waiting = sum(collection.unadmitted for collection in found)
            requests = {collection.request_id for collection in found}
            return self._known.windows.get(ref, WindowLimits()), requests, waiting
        collection = await tx.collections.get(CollectionId(int(ref)), order.principal)
        if collection is None or collection.rse is None or collection.relation is not Relation.INPUT:
            raise NotFound(f"there is no input {ref} that is staged")
        work = await Carousel(tx).work_of(collection)
        return (work.input.window if work.input else WindowLimits()), {collection.request_id}, collection.unadmitted

    async def change_source(self, order: Order, request: RequestId, source: str, *, under_way: bool) -> Touched:
        """Recall a request's files from another tape from now on; with `under_way` those being recalled, too."""
        async with self._ordered(order) as tx:
            inputs = await _staged_inputs(tx, order, request)
            await tx.collections.note_source([each.id for each in inputs], source)
            found = await Carousel(tx).awaited(inputs, AT_ONCE)
            await tx.replicas.lock([replica.id for replica in found])
            found = [r for r in await tx.replicas.get([r.id for r in found]) if r.ours and r.source_rse != source]
            ordered = [r for r in found if r.status is ReplicaStatus.STAGING and under_way]
            chosen = ordered + [r for r in found if r.status is ReplicaStatus.ADMITTED]
            await Carousel(tx).note_source([replica.id for replica in chosen], source)
            await redirect(tx, ordered, source, _by(order))
            told = await _of_request(tx, order, "change-source", request, chosen, inputs, {"source": source})
            stay = sum(r.status is ReplicaStatus.STAGING for r in found) - len(ordered)
            return _says(
                told,
                f"all that is admitted from now on is recalled from {source}",
                f"{len(ordered)} recalls under way are ordered anew from there" if ordered else None,
                f"{stay} recalls under way go on from where they are" if stay else None,
            )

    async def change_destination(self, order: Order, request: RequestId, rse: str) -> Touched:
        """Bring those of a request's files to another disk RSE that are not admitted yet."""
        self._check_disk("/rse", rse)
        async with self._ordered(order) as tx:
            inputs = [each for each in await _staged_inputs(tx, order, request) if each.rse != rse]
            for each in inputs:
                if any(fed.source is SourceKind.COUNTED for fed in await tx.collections.fed_by(each.id)):
                    raise Conflict(
                        f"collection {each.id} is counted for another work, which takes its files as they are"
                    )
            await tx.collections.note_destination([each.id for each in inputs], rse)
            told = await _of_request(tx, order, "change-destination", request, [], inputs, {"rse": rse})
            files = sum(each.unadmitted for each in inputs)
            return _says(
                replace(told, files=files),
                f"they go to {rse}; what is admitted already stays where it is",
            )

    async def force(self, order: Order, request: RequestId) -> Touched:
        """Have what waits of a request admitted next, before all others; windows hold all the same."""
        async with self._ordered(order) as tx:
            inputs = [
                each for each in await _staged_inputs(tx, order, request) if each.unadmitted or not each.is_closed
            ]
            await tx.collections.force([each.id for each in inputs])
            told = await _of_request(tx, order, "force-staging", request, [], inputs, {})
            files = sum(each.unadmitted for each in inputs)
            return _says(
                replace(told, files=files),
                "they are the next to be admitted, as soon as the windows have room",
            )

    async def release(self, order: Order, request: RequestId) -> Touched:
        """Give up now what of a request is on disk and nobody has taken: it is cancelled, and its replicas deleted."""
        async with self._ordered(order) as tx:
            inputs = await _staged_inputs(tx, order, request, ended=True)
            ids = await Carousel(tx).untaken([each.id for each in inputs], AT_ONCE + 1)
            chosen, more = ids[:AT_ONCE], len(ids) > AT_ONCE
            replicas = await Carousel(tx).replicas_of(chosen)
            await tx.replicas.lock([replica.id for replica in replicas])
            reason = _by(order, "released")
            await follow(tx, await tx.contents.move(ContentEvent.CANCELLED, of_ids(chosen), reason=reason))
            told = await _of_request(tx, order, "release", request, replicas, [], {"files": len(chosen)})
            return _says(
                replace(told, files=len(chosen), more=more),
                "their contents are cancelled; a retry of the request brings them again",
                "replicas that others pin stay until those are done with them",
            )

    async def retire(self, order: Order, rse: str, idle: int) -> Touched:
        """Give up what is on a disk RSE by our doing, and that nobody has used for `idle` microseconds."""
        _check_all_shares(order)
        self._check_disk("/rse", rse)
        async with self._ordered(order) as tx:
            found = await Carousel(tx).unused(rse, tx.now - idle, AT_ONCE + 1)
            more, chosen = len(found) > AT_ONCE, found[:AT_ONCE]
            ids = [replica.id for replica in chosen]
            requests = await tx.contents.pinning(ids)
            await tx.requests.lock(requests)
            await tx.replicas.lock(ids)
            still = {replica.id for replica in await Carousel(tx).unused(rse, tx.now - idle, AT_ONCE + 1)}
            chosen = [replica for replica in chosen if replica.id in still]
            ids = [replica.id for replica in chosen]
            reason = _by(order, f"nobody used it for {idle // 1_000_000} s")
            await follow(tx, await tx.contents.move(ContentEvent.CANCELLED, pinned_to(ids), reason=reason))
            await release(tx, ids)
            tx.audit.record(order.principal, "retire-unused", f"rse:{rse}", {"files": len(ids)})
            size = sum(replica.bytes for replica in chosen)
            told = Touched("retire-unused", f"rse:{rse}", order.dry_run, tuple(sorted(requests)), len(ids), size, more)
            return _says(told, "they are deleted, and the contents that waited with them are cancelled")


async def _staged_inputs(tx: Transaction, order: Order, request: RequestId, *, ended: bool = False) -> list[Collection]:
    """The inputs of a request that are staged to a disk, with the request locked. Raises NotFound and Conflict."""
    await tx.requests.lock([request])
    found = await tx.requests.get(request, order.principal)
    if found is None:
        raise NotFound(f"there is no request {request}")
    if found.status.is_terminal and not ended:
        raise Conflict(f"request {request} has ended {found.status} already")
    collections = await tx.collections.of_request(request)
    staged = [each for each in collections if each.relation is Relation.INPUT and each.rse is not None]
    if not staged:
        raise Conflict(f"request {request} has no input that is staged")
    return staged


async def _of_request(
    tx: Transaction,
    order: Order,
    verb: str,
    request: RequestId,
    replicas: Sequence[Replica],
    inputs: Sequence[Collection],
    details: Mapping[str, object],
) -> Touched:
    """Write down what was ordered about a request, and have it and whom it concerns planned anew."""
    entity = f"request:{request}"
    requests = {request} | await tx.contents.pinning([replica.id for replica in replicas])
    for each in inputs:
        place = f"collection:{each.id}"
        said = ", ".join(f"{name} {value}" for name, value in details.items())
        tx.moves.record(place, verb, (None, verb), request=request, n=0, reason=_by(order, said))
    tx.audit.record(order.principal, verb, entity, details)
    await _plan_anew(tx, [request])
    size = sum(replica.bytes for replica in replicas)
    return Touched(verb, entity, order.dry_run, tuple(sorted(requests)), len(replicas), size)


async def _plan_anew(tx: Transaction, requests: Iterable[RequestId]) -> None:
    tx.requests.mark_due(set(requests))
    tx.wake(Channel.PLANNING)


def _says(touched: Touched, *said: str | None) -> Touched:
    return replace(touched, says=tuple(each for each in said if each))


def _by(order: Order, reason: str = "") -> str:
    return f"ordered by {named(order.principal)}" + (f": {reason}" if reason else "")


def _limits(window: Window) -> str:
    parts = [] if window.limit_bytes is None else [f"{window.limit_bytes} bytes"]
    parts += [] if window.limit_files is None else [f"{window.limit_files} files"]
    return " and ".join(parts) or "without limits"


def _over(window: Window) -> str | None:
    bytes_over = window.limit_bytes is not None and window.reserved_bytes > window.limit_bytes
    files_over = window.limit_files is not None and window.reserved_files > window.limit_files
    if not bytes_over and not files_over:
        return None
    held = f"{window.reserved_bytes} bytes in {window.reserved_files} files"
    return f"it holds {held}: nothing is admitted until that is below the limit"


def _check_all_shares(order: Order) -> None:
    if order.principal.shares is not None:
        raise Forbidden("this concerns all shares, and this token is held to some")
