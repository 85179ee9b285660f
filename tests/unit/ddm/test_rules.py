"""What the statements do at the moments that a running mover passes too fast to see."""

import sqlite3
from collections.abc import Iterator

import pytest

from idds.ddm.posix import datasets, rules
from idds.ddm.posix.catalogue import SCHEMA
from idds.ddm.posix.rules import Change, Rule
from idds.domain.errors import Unavailable
from idds.domain.files import File
from idds.domain.identifiers import Did
from idds.ports.ddm import Where

FILE = Did("s", "file")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(SCHEMA)
    datasets.register(db, File(FILE, 7, "0badc0de"))
    rules.stage(db, "D", [FILE])
    yield db
    db.close()


def rule(db: sqlite3.Connection) -> Rule:
    found = rules.look(db, "D", [FILE])[FILE].rule
    assert found is not None
    return found


def test_staging_again_keeps_the_rule(db: sqlite3.Connection) -> None:
    before = rule(db)
    rules.stage(db, "D", [FILE])
    assert rule(db) == before
    rules.record_present(db, before.rule_id, "seen")
    rules.stage(db, "D", [FILE])
    assert rule(db) == Rule(before.rule_id, True, Where.PRESENT, None, None, "seen", None)


def test_what_failed_is_staged_under_a_new_rule(db: sqlite3.Connection) -> None:
    failed = rule(db).rule_id
    rules.record_failed(db, failed, "reason")
    assert (rule(db).state, rule(db).reason) == (Where.FAILED, "reason")
    rules.stage(db, "D", [FILE])
    assert (rule(db).state, rule(db).reason) == (Where.STAGING, None)
    assert rule(db).rule_id != failed


def test_a_recall_waits_behind_the_deletion_and_is_kept_when_staged_again(db: sqlite3.Connection) -> None:
    first = rule(db).rule_id
    rules.release(db, "D", {FILE: None})
    rules.stage(db, "D", [FILE])
    waiting = rule(db)
    assert (waiting.rule_id, waiting.state) == (first, Where.DELETING)
    rules.stage(db, "D", [FILE])
    assert rule(db) == waiting
    assert rules.deleting(db, [first]) == [first]
    rules.record_deleted(db, [first])
    assert rule(db) == Rule(waiting.next_rule_id or "", True, Where.STAGING, None, None, None, None)
    assert rules.deleting(db, [first, rule(db).rule_id]) == []


def test_releasing_again_forgets_the_recall_that_waits(db: sqlite3.Connection) -> None:
    first = rule(db).rule_id
    rules.release(db, "D", {FILE: None})
    rules.stage(db, "D", [FILE])
    rules.release(db, "D", {FILE: None})
    rules.record_deleted(db, [first])
    assert rules.look(db, "D", [FILE])[FILE].rule is None


def test_only_the_rule_that_is_named_is_released(db: sqlite3.Connection) -> None:
    first = rule(db).rule_id
    rules.release(db, "D", {FILE: "another"})
    assert rule(db).state is Where.STAGING
    rules.release(db, "D", {FILE: first})
    rules.stage(db, "D", [FILE])
    waiting = rule(db)
    assert waiting.next_rule_id
    rules.release(db, "D", {FILE: first})
    assert rule(db) == waiting
    rules.release(db, "D", {FILE: waiting.next_rule_id})
    assert (rule(db).state, rule(db).next_rule_id) == (Where.DELETING, None)


def test_what_comes_from_elsewhere_than_it_shall_is_ordered_anew(db: sqlite3.Connection) -> None:
    first = rule(db)
    rules.stage(db, "D", [FILE], "T2")
    waiting = rule(db)
    assert (waiting.rule_id, waiting.state, waiting.source) == (first.rule_id, Where.DELETING, "T2")
    rules.stage(db, "D", [FILE], "T2")
    assert rule(db) == waiting
    rules.record_deleted(db, [first.rule_id])
    (order,) = rules.unfinished(db)
    assert (order.rule_id, order.source) == (waiting.next_rule_id, "T2")
    rules.stage(db, "D", [FILE])
    assert rules.unfinished(db) == [order]


def test_a_boost_has_what_failed_tried_again_under_its_rule(db: sqlite3.Connection) -> None:
    failed = rule(db).rule_id
    rules.record_failed(db, failed, "reason")
    rules.boost(db, [failed])
    assert (rule(db).rule_id, rule(db).state, rule(db).reason) == (failed, Where.STAGING, None)


def test_an_outcome_after_the_release_changes_nothing(db: sqlite3.Connection) -> None:
    rules.release(db, "D", {FILE: None})
    before = rule(db)
    rules.record_present(db, before.rule_id, "seen")
    rules.record_failed(db, before.rule_id, "reason")
    assert rule(db) == before
    with pytest.raises(Unavailable):
        rules.record_uploaded(db, "D", FILE, "seen")


def test_only_unfinished_rules_call_for_something(db: sqlite3.Connection) -> None:
    (order,) = rules.unfinished(db)
    assert (order.rule_id, order.state, order.file) == (rule(db).rule_id, Where.STAGING, File(FILE, 7, "0badc0de"))
    assert rules.orders(db, [Change("D", FILE), Change("OTHER", FILE)]) == [order]
    rules.record_present(db, order.rule_id, "seen")
    assert rules.unfinished(db) == rules.orders(db, [Change("D", FILE)]) == []


def test_changes_are_told_once_each_and_forgotten_far_behind(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules.record_failed(db, rule(db).rule_id, "reason")
    last, changes = rules.changes_after(db, 0)
    assert changes == [Change("D", FILE)]
    assert rules.changes_after(db, last) == (last, [])
    monkeypatch.setattr(rules, "KEPT_CHANGES", 0)
    rules.forget_changes(db, last)
    assert rules.last_change(db) == last
    rules.release(db, "D", {FILE: None})
    assert rules.changes_after(db, last) == (last + 1, [Change("D", FILE)])
