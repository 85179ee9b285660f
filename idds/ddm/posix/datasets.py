"""Statements on datasets, files and tape copies. Each runs inside a transaction of the catalogue."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace

from idds.ddm.posix.catalogue import WANTED, wanted
from idds.domain.errors import Conflict, InvalidInput, Problem, UnknownDid
from idds.domain.files import File, FilePage
from idds.domain.identifiers import Did


@dataclass(frozen=True, slots=True)
class TapeCopy:
    """A file on a tape RSE. `length` is how many positions its cartridge has."""

    rse: str
    cartridge: str
    position: int
    length: int

    def __str__(self) -> str:
        return f"{self.rse} cartridge {self.cartridge} position {self.position}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listing stands. It goes in rounds: a round is what was attached after `low` up to `high`, in tape order,
    so that a file attached meanwhile at an earlier place of the tape is found in the next round, not passed over.
    """

    low: int
    high: int
    off_tape: int = 0
    cartridge: str = ""
    position: int = -1
    seq: int = 0

    @classmethod
    def read(cls, cursor: str) -> "Place":
        try:
            low, high, off_tape, cartridge, position, seq = json.loads(cursor)
            return cls(int(low), int(high), int(off_tape), str(cartridge), int(position), int(seq))
        except (ValueError, TypeError) as error:
            raise InvalidInput([Problem("/after", "not a cursor of this listing")]) from error

    def __str__(self) -> str:
        return json.dumps(astuple(self))


def create(db: sqlite3.Connection, dataset: Did, is_open: bool) -> None:
    """A dataset that is there already keeps its state."""
    db.execute(
        "INSERT INTO datasets (scope, name, is_open) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (dataset.scope, dataset.name, is_open),
    )


def close(db: sqlite3.Connection, dataset: Did) -> None:
    """Raises UnknownDid."""
    find(db, dataset)
    db.execute("UPDATE datasets SET is_open = 0 WHERE scope = ? AND name = ?", (dataset.scope, dataset.name))


def find(db: sqlite3.Connection, dataset: Did) -> tuple[int, bool]:
    """Its row id, and whether it is open. Raises UnknownDid."""
    row = db.execute(
        "SELECT id, is_open FROM datasets WHERE scope = ? AND name = ?", (dataset.scope, dataset.name)
    ).fetchone()
    if row is None:
        raise UnknownDid(f"no dataset {dataset} in the catalogue")
    return row[0], bool(row[1])


def register(db: sqlite3.Connection, file: File) -> None:
    """What is not said of its events leaves them as they are. Raises Conflict when the name stands for other bytes."""
    row = db.execute(
        "INSERT INTO files (scope, name, bytes, adler32, events) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET events = coalesce(excluded.events, events) RETURNING bytes, adler32",
        (file.did.scope, file.did.name, file.bytes, file.adler32, file.events),
    ).fetchone()
    if row != (file.bytes, file.adler32):
        raise Conflict(f"{file.did} is in the catalogue with adler32 {row[1]} and {row[0]} bytes")


def attach(db: sqlite3.Connection, dataset_id: int, did: Did, copy: TapeCopy | None) -> None:
    """Once; its place in the listing is the one it had on tape when it was attached."""
    placed = (0, copy.cartridge, copy.position) if copy else (1, "", 0)
    db.execute(
        "INSERT INTO attachments (dataset_id, scope, name, off_tape, cartridge, position) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (dataset_id, did.scope, did.name, *placed),
    )


def is_attached(db: sqlite3.Connection, dataset_id: int, did: Did) -> bool:
    row = db.execute(
        "SELECT 1 FROM attachments WHERE dataset_id = ? AND scope = ? AND name = ?", (dataset_id, did.scope, did.name)
    ).fetchone()
    return row is not None


def record_tape_copy(db: sqlite3.Connection, rse: str, dataset: Did, file: File, cartridge: str) -> None:
    """Register a file written behind the last one of the cartridge. Raises UnknownDid, Conflict."""
    dataset_id, _ = find(db, dataset)
    register(db, file)
    db.execute(
        "INSERT INTO tape_copies (rse, scope, name, cartridge, position)"
        " SELECT ?1, ?2, ?3, ?4, 1 + coalesce(max(position), -1) FROM tape_copies WHERE rse = ?1 AND cartridge = ?4"
        " ON CONFLICT (scope, name, rse) DO NOTHING",
        (rse, file.did.scope, file.did.name, cartridge),
    )
    copies = tape_copies(db, [file.did])[file.did]
    attach(db, dataset_id, file.did, next(copy for copy in copies if copy.rse == rse))


def tape_copies(db: sqlite3.Connection, dids: Iterable[Did]) -> dict[Did, list[TapeCopy]]:
    """Of those files that are on tape, in the order of the RSEs' names."""
    copies: dict[Did, list[TapeCopy]] = {}
    rows = db.execute(
        WANTED + "SELECT c.scope, c.name, c.rse, c.cartridge, c.position,"
        " (SELECT 1 + max(position) FROM tape_copies o WHERE o.rse = c.rse AND o.cartridge = c.cartridge)"
        " FROM wanted CROSS JOIN tape_copies c USING (scope, name) ORDER BY c.rse",
        (wanted(dids),),
    )
    for scope, name, *copy in rows:
        copies.setdefault(Did(scope, name), []).append(TapeCopy(*copy))
    return copies


def page(db: sqlite3.Connection, dataset: Did, after: str | None, limit: int) -> FilePage:
    """Raises UnknownDid, and InvalidInput for a cursor that is none."""
    dataset_id, is_open = find(db, dataset)
    (top,) = db.execute("SELECT coalesce(max(seq), 0) FROM attachments WHERE dataset_id = ?", (dataset_id,)).fetchone()
    place = Place.read(after) if after is not None else Place(0, top)
    found = _round(db, dataset_id, place, limit + 1)
    if len(found) <= limit and place.high < top:
        found += _round(db, dataset_id, Place(place.high, top), limit + 1 - len(found))
    more = str(found[limit - 1][1]) if len(found) > limit else None
    return FilePage(tuple(file for file, _ in found[:limit]), more, is_open)


def _round(db: sqlite3.Connection, dataset_id: int, place: Place, limit: int) -> list[tuple[File, Place]]:
    rows = db.execute(
        "SELECT a.scope, a.name, f.bytes, f.adler32, f.events, a.off_tape, a.cartridge, a.position, a.seq"
        " FROM attachments a JOIN files f USING (scope, name)"
        " WHERE a.dataset_id = ? AND a.seq > ? AND a.seq <= ?"
        " AND (a.off_tape, a.cartridge, a.position, a.seq) > (?, ?, ?, ?)"
        " ORDER BY a.off_tape, a.cartridge, a.position, a.seq LIMIT ?",
        (dataset_id, place.low, place.high, place.off_tape, place.cartridge, place.position, place.seq, limit),
    )
    return [
        (
            File(Did(scope, name), size, adler32, events),
            replace(place, off_tape=off_tape, cartridge=cartridge, position=position, seq=seq),
        )
        for scope, name, size, adler32, events, off_tape, cartridge, position, seq in rows
    ]
