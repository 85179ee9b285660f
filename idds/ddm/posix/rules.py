"""Statements on rules: which file is, or shall be, on which disk. Each runs inside a transaction of the catalogue.

A rule is `ours` when `stage` made it. A deleting rule may hold `next_rule_id`: the recall that waits for its end.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from idds.ddm.posix.catalogue import WANTED, wanted
from idds.domain.errors import Unavailable
from idds.domain.files import File
from idds.domain.identifiers import Did
from idds.ports.ddm import Where

KEPT_CHANGES = 10_000
"""So many changes stay readable for a process that lags behind."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`seen` is the fingerprint of the file when it was last found to be complete and right.

    `source` is the RSE that it is taken from, where one was said.
    """

    rule_id: str
    ours: bool
    state: Where
    next_rule_id: str | None
    reason: str | None
    seen: str | None
    source: str | None

    @property
    def is_promising(self) -> bool:
        """The file is there or on its way."""
        return self.state in (Where.STAGING, Where.PRESENT) or self.next_rule_id is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue holds of a file and one RSE; None where it holds nothing."""

    file: File | None
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class Order:
    """A rule that calls for something: `state` is staging or deleting; `source` the one RSE to take it from, if any."""

    rule_id: str
    rse: str
    state: Where
    file: File
    source: str | None


@dataclass(frozen=True, slots=True)
class Change:
    rse: str
    did: Did


def look(db: sqlite3.Connection, rse: str, dids: Sequence[Did]) -> dict[Did, Entry]:
    """An entry for every DID asked."""
    entries = dict.fromkeys(dids, Entry(None, None))
    rows = db.execute(
        WANTED + "SELECT w.scope, w.name, f.bytes, f.adler32,"
        " r.rule_id, r.ours, r.state, r.next_rule_id, r.reason, r.seen, r.source"
        " FROM wanted w JOIN files f USING (scope, name)"
        " LEFT JOIN rules r ON r.rse = ? AND r.scope = w.scope AND r.name = w.name",
        (wanted(dids), rse),
    )
    for scope, name, size, adler32, rule_id, ours, state, *more in rows:
        did = Did(scope, name)
        rule = Rule(rule_id, bool(ours), Where(state), *more) if rule_id is not None else None
        entries[did] = Entry(File(did, size, adler32), rule)
    return entries


def stage(db: sqlite3.Connection, rse: str, dids: Iterable[Did], source: str | None = None) -> None:
    """Make a rule where there is none, a new one where it failed, and one to follow where it is being deleted.

    One that is on its way from elsewhere than `source`, if one is said, is deleted, and followed by one from there.
    """
    db.execute(
        WANTED + "INSERT INTO rules (rse, scope, name, rule_id, ours, state, source)"
        " SELECT ?, scope, name, lower(hex(randomblob(16))), 1, 'staging', ? FROM wanted WHERE true ORDER BY no"
        " ON CONFLICT (rse, scope, name) DO UPDATE SET reason = NULL, source = excluded.source,"
        " next_rule_id = CASE state WHEN 'failed' THEN NULL ELSE excluded.rule_id END,"
        " rule_id = CASE state WHEN 'failed' THEN excluded.rule_id ELSE rule_id END,"
        " state = CASE state WHEN 'failed' THEN 'staging' ELSE 'deleting' END"
        " WHERE state = 'failed' OR (state = 'deleting' AND next_rule_id IS NULL)"
        " OR (state <> 'present' AND ours = 1 AND excluded.source IS NOT NULL AND source IS NOT excluded.source)",
        (wanted(dids), rse, source),
    )


def release(db: sqlite3.Connection, rse: str, released: Mapping[Did, str | None]) -> None:
    """Order the deletion of what is ours, under the rule that is said, or any; a recall that waits is forgotten."""
    db.execute(
        WANTED + f"{_DELETE} (scope, name) IN (SELECT scope, name FROM wanted)",
        (wanted(did for did, rule_id in released.items() if rule_id is None), rse),
    )
    ids = json.dumps([rule_id for rule_id in released.values() if rule_id is not None])
    db.execute(f"{_DELETE} next_rule_id IS NULL AND rule_id IN (SELECT value FROM json_each(?))", (rse, ids))
    db.execute(f"{_DELETE} state = 'deleting' AND next_rule_id IN (SELECT value FROM json_each(?))", (rse, ids))


_DELETE = (
    "UPDATE rules SET state = 'deleting', next_rule_id = NULL, reason = NULL"
    " WHERE rse = ? AND ours = 1 AND (state <> 'deleting' OR next_rule_id IS NOT NULL) AND"
)


def boost(db: sqlite3.Connection, rule_ids: Sequence[str]) -> None:
    """Have what failed tried again under its rule."""
    db.execute(
        "UPDATE rules SET state = 'staging', reason = NULL"
        " WHERE state = 'failed' AND ours = 1 AND rule_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(rule_ids)),),
    )


def ours(db: sqlite3.Connection) -> list[tuple[str, str, Did]]:
    """(Rule, RSE, file) of all rules of ours that nobody has ended."""
    rows = db.execute(
        "SELECT coalesce(next_rule_id, rule_id), rse, scope, name FROM rules"
        " WHERE ours = 1 AND (state <> 'deleting' OR next_rule_id IS NOT NULL)"
    )
    return [(rule_id, rse, Did(scope, name)) for rule_id, rse, scope, name in rows]


def destination(db: sqlite3.Connection, rule_id: str) -> str | None:
    """The RSE of this rule, if anybody has it."""
    row = db.execute("SELECT rse FROM rules WHERE coalesce(next_rule_id, rule_id) = ?", (rule_id,)).fetchone()
    return None if row is None else str(row[0])


def files_of(db: sqlite3.Connection, rse: str, rule_ids: Sequence[str]) -> dict[str, Did]:
    """The file of each of these rules of ours, of those that nobody has ended."""
    rows = db.execute(
        "SELECT coalesce(next_rule_id, rule_id) AS id, scope, name FROM rules WHERE ours = 1 AND rse = ?"
        " AND (state <> 'deleting' OR next_rule_id IS NOT NULL) AND id IN (SELECT value FROM json_each(?))",
        (rse, json.dumps(list(rule_ids))),
    )
    return {rule_id: Did(scope, name) for rule_id, scope, name in rows}


def record_present(db: sqlite3.Connection, rule_id: str, seen: str) -> None:
    """Changes nothing when the rule was released meanwhile."""
    db.execute("UPDATE rules SET state = 'present', seen = ? WHERE rule_id = ? AND state = 'staging'", (seen, rule_id))


def record_failed(db: sqlite3.Connection, rule_id: str, reason: str) -> None:
    """Changes nothing when the rule was released meanwhile."""
    db.execute(
        "UPDATE rules SET state = 'failed', reason = ? WHERE rule_id = ? AND state = 'staging'", (reason, rule_id)
    )


def deleting(db: sqlite3.Connection, rule_ids: Iterable[str]) -> list[str]:
    """Those of the rules that are being deleted still."""
    rows = db.execute(
        "SELECT rule_id FROM rules WHERE state = 'deleting' AND rule_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(rule_ids)),),
    )
    return [rule_id for (rule_id,) in rows]


def record_deleted(db: sqlite3.Connection, rule_ids: Iterable[str]) -> None:
    """The bytes are gone: the rule ends, or becomes the recall that waited."""
    among = "state = 'deleting' AND rule_id IN (SELECT value FROM json_each(?))"
    ids = json.dumps(list(rule_ids))
    db.execute(f"DELETE FROM rules WHERE next_rule_id IS NULL AND {among}", (ids,))
    db.execute(
        f"UPDATE rules SET state = 'staging', rule_id = next_rule_id, next_rule_id = NULL, seen = NULL WHERE {among}",
        (ids,),
    )


def record_found(db: sqlite3.Connection, rse: str, did: Did, seen: str) -> None:
    """A complete file is on the disk: somebody else's when no rule speaks of it."""
    db.execute(
        "INSERT INTO rules (rse, scope, name, rule_id, ours, state, seen)"
        " VALUES (?, ?, ?, lower(hex(randomblob(16))), 0, 'present', ?)"
        " ON CONFLICT (rse, scope, name) DO UPDATE SET seen = excluded.seen WHERE state = 'present'",
        (rse, did.scope, did.name, seen),
    )


def record_lost(db: sqlite3.Connection, rule_id: str, reason: str) -> None:
    """A file that was present is not, or not any more what it was. A rule that is not ours ends with its file."""
    db.execute("DELETE FROM rules WHERE rule_id = ? AND state = 'present' AND ours = 0", (rule_id,))
    db.execute(
        "UPDATE rules SET state = 'failed', reason = ? WHERE rule_id = ? AND state = 'present' AND ours = 1",
        (reason, rule_id),
    )


def record_uploaded(db: sqlite3.Connection, rse: str, did: Did, seen: str) -> None:
    """From now on the replica is not ours to delete. Raises Unavailable while it is being deleted."""
    row = db.execute(
        "INSERT INTO rules (rse, scope, name, rule_id, ours, state, seen)"
        " VALUES (?, ?, ?, lower(hex(randomblob(16))), 0, 'present', ?)"
        " ON CONFLICT (rse, scope, name) DO UPDATE"
        " SET ours = 0, state = 'present', seen = excluded.seen, reason = NULL WHERE state <> 'deleting' RETURNING 1",
        (rse, did.scope, did.name, seen),
    ).fetchone()
    if row is None:
        raise Unavailable(f"{did} is just being deleted on {rse}")


def unfinished(db: sqlite3.Connection) -> list[Order]:
    """Everything that calls for something: what whoever begins to move files must know."""
    return _orders(db.execute(_ORDERS + "rules r JOIN files f USING (scope, name) WHERE " + _UNFINISHED))


def orders(db: sqlite3.Connection, changes: Iterable[Change]) -> list[Order]:
    """What calls for something among what changed."""
    places = json.dumps([(change.did.scope, change.did.name, change.rse) for change in changes])
    return _orders(
        db.execute(
            WANTED.replace("AS name", "AS name, json_extract(value, '$[2]') AS rse")
            + _ORDERS
            + "wanted CROSS JOIN rules r USING (rse, scope, name) JOIN files f USING (scope, name) WHERE "
            + _UNFINISHED,
            (places,),
        )
    )


_ORDERS = "SELECT r.rule_id, r.rse, r.state, r.source, r.scope, r.name, f.bytes, f.adler32 FROM "
_UNFINISHED = "r.state IN ('staging', 'deleting')"


def _orders(rows: Iterable[tuple[str, str, str, str | None, str, str, int, str]]) -> list[Order]:
    return [
        Order(rule_id, rse, Where(state), File(Did(scope, name), size, adler32), source)
        for rule_id, rse, state, source, scope, name, size, adler32 in rows
    ]


def last_change(db: sqlite3.Connection) -> int:
    (seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return int(seq)


def changes_after(db: sqlite3.Connection, seq: int) -> tuple[int, list[Change]]:
    """The last change's number, and what changed after `seq`, each place once."""
    last = last_change(db)
    rows = db.execute("SELECT DISTINCT rse, scope, name FROM changes WHERE seq > ? AND seq <= ?", (seq, last))
    return last, [Change(rse, Did(scope, name)) for rse, scope, name in rows]


def forget_changes(db: sqlite3.Connection, seq: int) -> None:
    """Purge what lies so far behind `seq` that nobody should need it."""
    db.execute("DELETE FROM changes WHERE seq <= ?", (seq - KEPT_CHANGES,))
