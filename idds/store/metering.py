"""Levels, read at the cost of what is there now, not of what has ever been: by partial indexes and counters."""

from collections import Counter
from typing import Any

from sqlalchemy import Executable, Select, func, select, text

from idds.domain.levels import Level, Levels, WindowLevel
from idds.domain.statuses import ContentStatus
from idds.domain.study import Origin
from idds.store.connection import Rows
from idds.store.database import Transaction
from idds.store.schema import (
    agents,
    collections,
    contents,
    effects,
    messages,
    processings,
    replicas,
    requests,
    samples,
    windows,
)

MOST_LEASES = 100_000
"""More that have ended are not counted."""

# Conditions as the indexes have them.
_LIVE = text("requests.status IN ('new', 'running', 'suspended')")
_OPEN = text("processings.status IN ('new', 'ready', 'running')")
_HERE = text("replicas.status <> 'gone'")
_LEASED = text("contents.status = 'leased' AND contents.lease_until IS NOT NULL")
_UNSENT = text("messages.sent_at IS NULL")

_REQUESTS = select(requests.c.status, func.count().label("number")).where(_LIVE).group_by(requests.c.status)
_DUE = select(func.count().label("number"), func.min(requests.c.due_at).label("since"))


AGENT_LOST = 45_000_000
"""An agent that was not seen for so many microseconds is counted no more."""


def _first(status: str) -> Any:
    """When the first in a collection's line came to this status."""
    order = (contents.c.group_no, contents.c.id) if status == "new" else (contents.c.id,)
    is_there = text(f"contents.status = '{status}'")
    first = select(contents.c.changed_at).where(contents.c.collection_id == collections.c.id, is_there)
    return first.order_by(*order).limit(1).scalar_subquery()


def _waiting(status: str, number: Any) -> Select[Any]:
    """Contents of live requests that have this status, by what their collections count."""
    line = select(number.label("number"), _first(status).label("since"))
    line = line.select_from(collections).join(requests, requests.c.id == collections.c.request_id)
    lines = line.where(_LIVE, number > 0).subquery()
    return select(func.coalesce(func.sum(lines.c.number), 0).label("number"), func.min(lines.c.since).label("since"))


_NEW = _waiting("new", collections.c.n_new)
_AVAILABLE = _waiting("available", collections.c.n_available)
_COUNTED = (
    select(
        func.coalesce(func.sum(collections.c.n_leased), 0).label("leased"),
        func.coalesce(func.sum(collections.c.unadmitted), 0).label("unadmitted"),
    )
    .select_from(collections)
    .join(requests, requests.c.id == collections.c.request_id)
    .where(_LIVE)
)
# As an expression: collections are found by their live requests, not all studies there ever were.
_STUDIES = text("collections.source || '' = 'samples'")
_DRAWN = (
    select(func.coalesce(func.sum(sum(collections.c[f"n_{status}"] for status in ContentStatus)), 0).label("number"))
    .select_from(collections)
    .join(requests, requests.c.id == collections.c.request_id)
    .where(_LIVE, _STUDIES)
)
_OF_OTHER_ORIGIN = (
    select(samples.c.origin, func.count().label("number"))
    .select_from(samples)
    .join(collections, collections.c.id == samples.c.study_id)
    .join(requests, requests.c.id == collections.c.request_id)
    .where(_LIVE, _STUDIES, text("samples.origin <> 'sampler'"))
    .group_by(samples.c.origin)
)
_ENDED_LEASES = select(contents.c.id).where(_LEASED).order_by(contents.c.lease_until).limit(MOST_LEASES)
_PROCESSINGS = (
    select(
        processings.c.provider.label("kind"),
        processings.c.status.label("state"),
        func.count().label("number"),
        func.min(processings.c.changed_at).label("since"),
    )
    .where(_OPEN)
    .group_by(processings.c.provider, processings.c.status)
)
_REPLICAS = (
    select(
        replicas.c.rse.label("kind"),
        replicas.c.status.label("state"),
        func.count().label("number"),
        func.sum(replicas.c.bytes).label("bytes"),
    )
    .where(_HERE)
    .group_by(replicas.c.rse, replicas.c.status)
)
_MESSAGES = select(func.count().label("number"), func.min(messages.c.created_at).label("since")).where(_UNSENT)
_WINDOWS = select(windows).where(windows.c.kind == "rse").order_by(windows.c.ref)


async def read_levels(tx: Transaction) -> Levels:
    """The levels of the moment that the transaction sees."""

    async def rows(query: Executable) -> Rows:
        return await tx.connection.execute(query)

    due = (await rows(_DUE.where(requests.c.due_at <= tx.now))).one()
    ended = _ENDED_LEASES.where(contents.c.lease_until < tx.now)
    unsent = (await rows(_MESSAGES)).one()
    return Levels(
        at=tx.now,
        requests=[Level("request", row.status, row.number) for row in await rows(_REQUESTS)],
        due=Level("request", "due", due.number, due.since),
        contents=await _contents(tx),
        samples=await _samples(tx),
        leases_ended=(await rows(select(func.count()).select_from(ended.subquery("ended")))).scalar_one(),
        processings=[Level(row.kind, row.state, row.number, row.since) for row in await rows(_PROCESSINGS)],
        replicas=[Level(row.kind, row.state, row.number, bytes=int(row.bytes)) for row in await rows(_REPLICAS)],
        effects=await _effects(tx),
        messages=Level("message", "unsent", unsent.number, unsent.since),
        windows=[
            WindowLevel(row.ref, row.limit_bytes, row.reserved_bytes, row.limit_files, row.reserved_files)
            for row in await rows(_WINDOWS)
        ],
        agents=await _agents(tx),
    )


async def _effects(tx: Transaction) -> list[Level]:
    """Those that are due and those that wait; and of both, those whose last try failed. Finished ones are not kept."""
    is_due = (effects.c.due_at <= tx.now).label("is_due")
    query = select(
        effects.c.kind,
        is_due,
        func.count().label("number"),
        func.count(effects.c.error).label("failing"),
        func.min(effects.c.created_at).label("since"),
    ).group_by(effects.c.kind, is_due)
    levels, failing = list[Level](), Counter[str]()
    for row in await tx.connection.execute(query):
        levels.append(Level(row.kind, "due" if row.is_due else "waiting", row.number, row.since))
        failing[row.kind] += row.failing
    return [*levels, *(Level(kind, "failing", number) for kind, number in failing.items())]


async def _agents(tx: Transaction) -> list[Level]:
    """How many processes run each agent, and when the last of them was seen."""
    seen: dict[str, list[int]] = {}
    for row in await tx.connection.execute(select(agents.c.names, agents.c.seen_at)):
        for name in row.names:
            seen.setdefault(name, []).append(row.seen_at)
    return [
        Level(name, "seen", sum(at > tx.now - AGENT_LOST for at in times), max(times)) for name, times in seen.items()
    ]


async def _contents(tx: Transaction) -> list[Level]:
    new = (await tx.connection.execute(_NEW)).one()
    available = (await tx.connection.execute(_AVAILABLE)).one()
    counted = (await tx.connection.execute(_COUNTED)).one()
    return [
        Level("content", ContentStatus.NEW, int(new.number), new.since),
        Level("content", "unadmitted", int(counted.unadmitted)),
        Level("content", ContentStatus.AVAILABLE, int(available.number), available.since),
        Level("content", ContentStatus.LEASED, int(counted.leased)),
    ]


async def _samples(tx: Transaction) -> list[Level]:
    """By origin. Most come from their sampler, and are counted by their collections."""
    drawn = int((await tx.connection.execute(_DRAWN)).scalar_one())
    others = {Origin(row.origin): int(row.number) for row in await tx.connection.execute(_OF_OTHER_ORIGIN)}
    numbers = {Origin.SAMPLER: drawn - sum(others.values()), **others}
    return [Level("sample", origin, numbers.get(origin, 0)) for origin in Origin]
