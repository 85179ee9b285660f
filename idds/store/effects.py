"""Effects: recorded with the state that calls for them, claimed by who carries them out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Integer, Text, and_, bindparam, delete, literal_column, select, text, update

from idds.domain.effect import Effect, NewEffect
from idds.domain.identifiers import EffectId, RequestId
from idds.domain.statuses import EffectKind
from idds.engine.retry import backoff
from idds.ports.wakeups import of_effects
from idds.store.gathered import Gathered
from idds.store.noun import Noun
from idds.store.schema import effects
from idds.store.sets import among_selected

if TYPE_CHECKING:
    from idds.store.database import Transaction


_CLAIMABLE = (
    select(effects.c.id)
    .where(effects.c.kind == bindparam("of_kind"), effects.c.due_at <= bindparam("until"))
    .order_by(effects.c.due_at)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(effects)
    .where(among_selected(effects.c.id, _CLAIMABLE))
    .values(owner=bindparam("by"), epoch=effects.c.epoch + 1, tries=effects.c.tries + 1, due_at=bindparam("again_at"))
    .returning(
        effects.c.id,
        effects.c.kind,
        effects.c.entity,
        effects.c.attempt,
        effects.c.request_id,
        effects.c.payload,
        effects.c.epoch,
        effects.c.tries,
    )
)
_FINISH = delete(effects).where(effects.c.id == bindparam("effect"), effects.c.epoch == bindparam("claimed"))


_CONCERNS = """EXISTS (SELECT 1 FROM jsonb_array_elements(effects.payload -> 'replicas') AS named (value)
                 WHERE named.value IN (SELECT * FROM jsonb_array_elements(CAST(:replicas AS jsonb))))"""
_CONCERNS_SQLITE = """EXISTS (SELECT 1 FROM json_each(effects.payload, '$.replicas') AS named
                        WHERE named.value IN (SELECT value FROM json_each(:replicas)))"""


class Fenced(Exception):
    """Somebody else has taken this claim over: stop, and leave everything as it is."""


def _of(entity: str, kinds: Sequence[EffectKind]) -> ColumnElement[bool]:
    """Effects of an entity, found by that: of a kind there may be very many."""
    kind = effects.c.kind + literal_column("''", Text)
    return and_(effects.c.entity == entity, kind.in_([str(each) for each in kinds]))


class Effects(Noun):
    """What is added is written at the end of the transaction, all at once."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._added: list[dict[str, Any]] = []

    def add(self, new: Sequence[NewEffect], request: RequestId | None) -> None:
        """Record effects; one whose natural key is known already is not recorded again."""
        self._added += [
            {
                "kind": effect.kind,
                "entity": effect.entity,
                "attempt": effect.attempt,
                "payload": dict(effect.payload),
                "request_id": request,
                "due_at": self._tx.now + effect.delay,
                "error": effect.error,
                "created_at": self._tx.now,
            }
            for effect in new
        ]
        self._tx.wake(*(of_effects(effect.kind) for effect in new))

    def gathered(self) -> Gathered:
        """What was added and is not written yet: the caller is about to."""
        added, self._added = self._added, []
        return {"effects": added}

    async def claim(self, kind: EffectKind, *, owner: str, lease: int, limit: int) -> list[Effect]:
        """Take up to `limit` effects that are due, for `lease` microseconds; after that anybody may."""
        await self._tx.write_gathered()
        now = self._tx.now
        bound = {"of_kind": kind, "until": now, "most": limit, "by": owner, "again_at": now + lease}
        rows = await self._execute(_CLAIM, bound)
        found = [Effect(**{**row._asdict(), "kind": EffectKind(row.kind)}) for row in rows]
        return sorted(found, key=lambda effect: effect.id)

    async def finish(self, claimed: Sequence[Effect]) -> None:
        """The effects are done: nothing of them stays. Raises Fenced if any claim is no longer ours."""
        for effect in claimed:
            gone = await self._execute(_FINISH, {"effect": effect.id, "claimed": effect.epoch})
            if gone.rowcount != 1:
                raise Fenced(f"{effect.kind} of {effect.entity}")

    async def hold(self, claimed: Effect, lease: int) -> None:
        """Keep a claim for `lease` microseconds more. Raises Fenced if it is no longer ours."""
        ours = update(effects).where(effects.c.id == claimed.id, effects.c.epoch == claimed.epoch)
        if (await self._execute(ours.values(due_at=self._tx.now + lease))).rowcount != 1:
            raise Fenced(f"{claimed.kind} of {claimed.entity}")

    async def postpone(self, claimed: Sequence[Effect], error: str | None, delay: int | None = None) -> None:
        """Give claims back, to be tried again after `delay` or a growing pause. A claim taken over is left alone.

        Without an error nothing went wrong: what goes wrong later is counted from there. It has been tried, though.
        """
        counted = {"tries": 1} if error is None else {}
        for effect in claimed:
            pause = backoff(effect.tries) if delay is None else delay
            await self._execute(
                update(effects)
                .where(effects.c.id == effect.id, effects.c.epoch == effect.epoch)
                .values(owner=None, due_at=self._tx.now + pause, error=error, **counted)
            )

    async def drop(self, entity: str, kinds: Sequence[EffectKind], *, untried: bool = False) -> list[EffectId]:
        """Take back effects of this entity that nobody has claimed, nor ever had if `untried`; the ids of those."""
        await self._tx.write_gathered()
        dropped = delete(effects).where(_of(entity, kinds), effects.c.owner.is_(None))
        if untried:
            dropped = dropped.where(effects.c.tries == 0)
        return [row.id for row in await self._execute(dropped.returning(effects.c.id))]

    async def revoke(self, entity: str, kinds: Sequence[EffectKind]) -> None:
        """Take back effects of this entity, also from who has claimed them: they are fenced off."""
        await self._tx.write_gathered()
        await self._execute(delete(effects).where(_of(entity, kinds)))

    async def hasten(self, entity: str, kinds: Sequence[EffectKind]) -> None:
        """Make effects of this entity that were postponed due at once."""
        await self._tx.write_gathered()
        waiting = update(effects).where(_of(entity, kinds), effects.c.owner.is_(None))
        if (await self._execute(waiting.values(due_at=self._tx.now))).rowcount:
            self._tx.wake(*map(of_effects, kinds))

    async def hasten_recalls(self, replicas: Sequence[int]) -> None:
        """Make postponed orders that concern one of these replicas due at once."""
        await self._tx.write_gathered()
        named = text(_CONCERNS_SQLITE if self._is_sqlite else _CONCERNS)
        waiting = update(effects).where(effects.c.kind == EffectKind.STAGE, effects.c.owner.is_(None), named)
        bound = {"replicas": json.dumps(list(replicas))}
        if (await self._execute(waiting.values(due_at=self._tx.now), bound)).rowcount:
            self._tx.wake(of_effects(EffectKind.STAGE))

    async def hasten_kind(self, kind: EffectKind) -> None:
        """Make all effects of this kind that were postponed due at once."""
        await self._tx.write_gathered()
        waiting = update(effects).where(effects.c.kind == kind, effects.c.owner.is_(None))
        if (await self._execute(waiting.values(due_at=self._tx.now))).rowcount:
            self._tx.wake(of_effects(kind))

    async def hasten_all(self, request: RequestId) -> None:
        """Make all of a request's effects that were postponed due at once."""
        await self._tx.write_gathered()
        waiting = update(effects).where(effects.c.request_id == request, effects.c.owner.is_(None))
        rows = await self._execute(waiting.values(due_at=self._tx.now).returning(effects.c.kind))
        self._tx.wake(*{of_effects(EffectKind(row.kind)) for row in rows})

    async def next_due(self, kinds: Sequence[EffectKind]) -> int | None:
        """When the next effect of these kinds is due."""
        await self._tx.write_gathered()
        query = select(effects.c.due_at).where(effects.c.kind.in_(kinds)).order_by(effects.c.due_at).limit(1)
        found: int | None = (await self._execute(query)).scalar()
        return found

    async def of_request(self, request: RequestId) -> list[dict[str, Any]]:
        """What is still to be done outside for a request."""
        await self._tx.write_gathered()
        rows = await self._execute(select(effects).where(effects.c.request_id == request).order_by(effects.c.id))
        return [row._asdict() for row in rows]
