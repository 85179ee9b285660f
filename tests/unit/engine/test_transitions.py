"""The tables of transitions hang together."""

import pytest

from idds.domain.statuses import CONTENT_TERMINAL, TERMINAL, ContentStatus, ReplicaStatus, Status
from idds.engine.transitions import (
    CONTENT,
    PINNABLE,
    PINNING,
    PROCESSING,
    REPLICA,
    REQUEST,
    TRANSFORM,
    ContentEvent,
    IllegalTransition,
    ReplicaEvent,
    check,
)

TABLES = {"request": REQUEST, "transform": TRANSFORM, "processing": PROCESSING}


@pytest.mark.parametrize("noun", TABLES)
def test_after_an_end_it_is_new_or_nothing_and_all_ends_can_be_reached(noun: str) -> None:
    table = TABLES[noun]
    assert all(table[end] == {Status.NEW} for end in TERMINAL & table.keys())
    reached, frontier = {Status.NEW}, {Status.NEW}
    while frontier:
        frontier = set().union(*(table.get(status, frozenset()) for status in frontier)) - reached
        reached |= frontier
    # The time that is over is its request's: what is under way then is cancelled.
    assert reached >= TERMINAL - ({Status.EXPIRED} if noun == "processing" else set())
    assert reached >= table.keys()


def test_a_request_that_finished_stays_so() -> None:
    assert Status.FINISHED not in REQUEST


def test_check_lets_pass_what_the_table_has_and_what_stays() -> None:
    check(REQUEST, Status.NEW, Status.RUNNING)
    check(REQUEST, Status.FINISHED, Status.FINISHED)
    with pytest.raises(IllegalTransition, match="finished -> running"):
        check(REQUEST, Status.FINISHED, Status.RUNNING)
    with pytest.raises(IllegalTransition):
        check(TRANSFORM, Status.NEW, Status.FINISHED)


@pytest.mark.parametrize("event", ContentEvent)
def test_no_event_but_a_retry_moves_an_ended_content_and_none_what_is_done(event: ContentEvent) -> None:
    edge = CONTENT[event]
    assert edge.target not in edge.sources
    if event is ContentEvent.RETRIED:
        assert set(edge.sources) == CONTENT_TERMINAL - {ContentStatus.DONE}
    else:
        assert not CONTENT_TERMINAL & set(edge.sources)


def test_a_content_is_either_pinning_or_ended() -> None:
    assert set(PINNING) | CONTENT_TERMINAL == set(ContentStatus)
    assert not set(PINNING) & CONTENT_TERMINAL


@pytest.mark.parametrize("event", ReplicaEvent)
def test_only_a_replica_that_was_admitted_holds_room_and_it_gives_it_back_once(event: ReplicaEvent) -> None:
    edge = REPLICA[event]
    assert edge.target not in edge.sources
    if edge.target is ReplicaStatus.GONE:
        assert event in (ReplicaEvent.REFUSED, ReplicaEvent.FORGOTTEN, ReplicaEvent.DELETED)


def test_a_replica_on_its_way_out_takes_no_pin() -> None:
    assert ReplicaStatus.DELETING not in PINNABLE
    assert ReplicaStatus.GONE not in PINNABLE
