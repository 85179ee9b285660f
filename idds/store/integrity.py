"""Whether what is counted agrees with what is there. Reads only; each question is one statement over a table."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Select, Text, and_, case, cast, func, or_, select, text

from idds.domain.statuses import ContentStatus, ReplicaStatus, SourceKind, Status
from idds.store.schema import collections, contents, processings, replicas, samples, transforms, windows

MOST = 100
"""So many of a kind are told; where there are more, the whole of it is broken."""

IN_FLIGHT = (ContentStatus.AVAILABLE, ContentStatus.LEASED)
PINNING = (ContentStatus.NEW, *IN_FLIGHT)
OPEN = (Status.NEW, Status.READY, Status.RUNNING, Status.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two things that should be the same: what is `recorded` of an entity, and what was `found`."""

    entity: str
    what: str
    recorded: int
    found: int

    def __str__(self) -> str:
        return f"{self.entity}: {self.what} is recorded as {self.recorded}, and is {self.found}"


def disagreements(connection: sqlalchemy.Connection) -> list[Disagreement]:
    """All that does not agree, `MOST` of each question; of one moment, if the transaction is."""
    return [found for question in QUESTIONS for found in question(connection)]


def _of_collections(connection: sqlalchemy.Connection) -> Iterator[Disagreement]:
    """Counters are folded from moves, and never recounted in service."""
    counted = {f"n_{status}": func.count().filter(contents.c.status == status) for status in ContentStatus}
    waits = and_(contents.c.status == ContentStatus.NEW, contents.c.replica_id.is_(None))
    counted["unadmitted"] = func.count().filter(waits)
    there = _grouped(contents, contents.c.collection_id, counted)
    recorded = {name: collections.c[name] for name in counted}
    yield from _compare(connection, collections, there, collections.c.id == there.c.key, "collection", recorded)


def _of_transforms(connection: sqlalchemy.Connection) -> Iterator[Disagreement]:
    counted = {"open_processings": func.count().filter(processings.c.status.in_(OPEN))}
    there = _grouped(processings, processings.c.transform_id, counted)
    recorded = {"open_processings": transforms.c.open_processings}
    yield from _compare(connection, transforms, there, transforms.c.id == there.c.key, "transform", recorded)


def _of_rse_windows(connection: sqlalchemy.Connection) -> Iterator[Disagreement]:
    """A replica of ours counts in its RSE's window until it is gone."""
    live = and_(replicas.c.ours, replicas.c.status != ReplicaStatus.GONE)
    there = _grouped(replicas, replicas.c.rse, _reserved(live))
    joined = and_(windows.c.kind == "rse", windows.c.ref == there.c.key)
    yield from _compare(connection, windows, there, joined, "window", _RESERVED, windows.c.kind == "rse")


def _of_file_windows(connection: sqlalchemy.Connection) -> Iterator[Disagreement]:
    """And in the window of the collection it was admitted for."""
    live = and_(replicas.c.ours, replicas.c.status != ReplicaStatus.GONE)
    there = _grouped(replicas, replicas.c.window_id, _reserved(live))
    of_files = and_(windows.c.kind == "collection", windows.c.ref.not_in(_studies()))
    yield from _compare(connection, windows, there, windows.c.id == there.c.key, "window", _RESERVED, of_files)


def _of_study_windows(connection: sqlalchemy.Connection) -> Iterator[Disagreement]:
    """A sample counts from the moment it is asked for; where a study ended before it came, for ever."""
    flying = select(func.count()).where(contents.c.collection_id == collections.c.id, contents.c.status.in_(IN_FLIGHT))
    drawn = select(func.count()).where(samples.c.study_id == collections.c.id)
    found = flying.scalar_subquery() + collections.c.next_no - drawn.scalar_subquery()
    query = (
        select(windows.c.id, windows.c.reserved_files.label("recorded"), found.label("found"))
        .join(collections, cast(collections.c.id, Text) == windows.c.ref)
        .where(windows.c.kind == "collection", collections.c.source == SourceKind.SAMPLES)
        .where(windows.c.reserved_files != found)
        .order_by(windows.c.id)
        .limit(MOST)
    )
    for row in connection.execute(query):
        yield Disagreement(f"window {row.id}", "reserved_files", row.recorded, row.found)


def _of_pins(connection: sqlalchemy.Connection) -> Iterator[Disagreement]:
    """A replica that is deleted takes no pin."""
    leaving = (ReplicaStatus.DELETING, ReplicaStatus.GONE)
    query = (
        select(replicas.c.id, func.count().label("pins"))
        .join(contents, contents.c.replica_id == replicas.c.id)
        .where(contents.c.status.in_(PINNING), replicas.c.status.in_(leaving))
        .group_by(replicas.c.id)
        .order_by(replicas.c.id)
        .limit(MOST)
    )
    for row in connection.execute(query):
        yield Disagreement(f"replica {row.id}", "pins on what is being deleted", 0, row.pins)


QUESTIONS: tuple[Callable[[sqlalchemy.Connection], Iterator[Disagreement]], ...] = (
    _of_collections,
    _of_transforms,
    _of_rse_windows,
    _of_file_windows,
    _of_study_windows,
    _of_pins,
)

_RESERVED = {"reserved_files": windows.c.reserved_files, "reserved_bytes": windows.c.reserved_bytes}


def _reserved(live: ColumnElement[bool]) -> dict[str, ColumnElement[Any]]:
    size = func.coalesce(func.sum(case((live, replicas.c.bytes), else_=0)), 0)
    return {"reserved_files": func.count().filter(live), "reserved_bytes": size}


def _studies() -> Select[Any]:
    return select(cast(collections.c.id, Text)).where(collections.c.source == SourceKind.SAMPLES)


def _grouped(table: Any, key: Any, counted: Mapping[str, ColumnElement[Any]]) -> Any:
    columns = [column.label(name) for name, column in counted.items()]
    return select(key.label("key"), *columns).select_from(table).group_by(key).subquery()


def _compare(
    connection: sqlalchemy.Connection,
    table: Any,
    there: Any,
    joined: ColumnElement[bool],
    noun: str,
    recorded: dict[str, Any],
    where: ColumnElement[bool] | None = None,
) -> Iterator[Disagreement]:
    found = {name: func.coalesce(there.c[name], 0) for name in recorded}
    query = (
        select(
            table.c.id,
            *(column.label(f"recorded_{name}") for name, column in recorded.items()),
            *(column.label(f"found_{name}") for name, column in found.items()),
        )
        .select_from(table.outerjoin(there, joined))
        .where(or_(*(recorded[name] != found[name] for name in recorded)))
        .order_by(table.c.id)
        .limit(MOST)
    )
    for row in connection.execute(query if where is None else query.where(where)).mappings():
        for name in recorded:
            if row[f"recorded_{name}"] != row[f"found_{name}"]:
                is_, was = int(row[f"found_{name}"]), int(row[f"recorded_{name}"])
                yield Disagreement(f"{noun} {row['id']}", name, was, is_)


def version(connection: sqlalchemy.Connection) -> str:
    """Which database this is, and of which version."""
    if connection.dialect.name == "sqlite":
        return f"SQLite {connection.execute(text('SELECT sqlite_version()')).scalar_one()}"
    return f"PostgreSQL {connection.execute(text('SHOW server_version')).scalar_one()}"


def damages(connection: sqlalchemy.Connection) -> list[str]:
    """What SQLite finds broken in its file; PostgreSQL watches over its own."""
    if connection.dialect.name != "sqlite":
        return []
    said = [str(row[0]) for row in connection.execute(text(f"PRAGMA integrity_check({MOST})"))]
    strays = connection.execute(text("PRAGMA foreign_key_check")).all()[:MOST]
    broken = [f"row {row[1]} of {row[0]} points at a row of {row[2]} that is not there" for row in strays]
    return [line for line in said if line != "ok"] + broken
