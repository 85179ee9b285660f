"""Decisions for a request."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.statuses import TERMINAL, Intent, Status
from idds.domain.workflow import Work
from idds.engine import graph, transitions
from idds.engine.request import Bar, Broke, Ordered, Progressed, Release, RequestEvent, decide, may_order
from tests.unit.engine.examples import NOW, PAYLOAD, THEN, a_request, makes, takes

RUN, SUSPEND, CANCEL, FINISH, EXPIRE = Intent.RUN, Intent.SUSPEND, Intent.CANCEL, Intent.FINISH, Intent.EXPIRE
NEW, RUNNING, DONE, FAILED = Status.NEW, Status.RUNNING, Status.FINISHED, Status.FAILED
CHAIN = (Work(name="a", payload=PAYLOAD), Work(name="b", payload=PAYLOAD, after=("a",)))


def test_the_first_works_are_released_when_it_starts() -> None:
    decision = decide(a_request(*CHAIN, status=NEW), Progressed({"a": NEW, "b": NEW}), NOW)
    assert decision.entity.status is RUNNING
    assert decision.entity.changed_at == NOW
    assert decision.instructions == (Release("a"),)


def test_a_work_follows_the_one_it_waits_for() -> None:
    assert decide(a_request(*CHAIN), Progressed({"a": RUNNING, "b": NEW}), NOW).instructions == ()
    assert decide(a_request(*CHAIN), Progressed({"a": DONE, "b": NEW}), NOW).instructions == (Release("b"),)
    partly = Progressed({"a": Status.SUBFINISHED, "b": NEW})
    assert decide(a_request(*CHAIN), partly, NOW).instructions == (Release("b"),)


def test_a_work_behind_a_failed_one_is_barred() -> None:
    decision = decide(a_request(*CHAIN), Progressed({"a": FAILED, "b": NEW}), NOW)
    assert decision.instructions == (Bar("b", "it needs work 'a', which ended failed"),)


def test_a_work_that_takes_outputs_starts_with_the_work_that_makes_them() -> None:
    stream = a_request(makes("a"), takes("b", "a"))
    assert decide(stream, Progressed({"a": NEW, "b": NEW}), NOW).instructions == (Release("a"),)
    assert decide(stream, Progressed({"a": RUNNING, "b": NEW}), NOW).instructions == (Release("b"),)


@pytest.mark.parametrize(
    ("intent", "ends", "status"),
    [
        (RUN, {"a": DONE, "b": DONE}, DONE),
        (RUN, {"a": DONE, "b": FAILED}, Status.SUBFINISHED),
        (RUN, {"a": FAILED, "b": Status.CANCELLED}, FAILED),
        (FINISH, {"a": DONE, "b": Status.CANCELLED}, Status.SUBFINISHED),
        (CANCEL, {"a": DONE, "b": Status.CANCELLED}, Status.CANCELLED),
        (SUSPEND, {"a": DONE, "b": DONE}, DONE),
    ],
)
def test_it_ends_with_its_works(intent: Intent, ends: dict[str, Status], status: Status) -> None:
    decision = decide(a_request(*CHAIN, intent=intent), Progressed(ends), NOW)
    assert decision.entity.status is status
    assert decision.instructions == ()


def test_it_is_suspended_and_goes_on() -> None:
    standing = Progressed({"a": DONE, "b": NEW})
    decision = decide(a_request(*CHAIN, intent=SUSPEND), standing, NOW)
    assert decision.entity.status is Status.SUSPENDED
    assert decision.instructions == ()
    resumed = decide(replace(decision.entity, intent=RUN), standing, NOW)
    assert resumed.entity.status is RUNNING
    assert resumed.instructions == (Release("b"),)


@pytest.mark.parametrize(("intent", "verb"), [(CANCEL, "cancelled"), (FINISH, "finished early")])
@pytest.mark.parametrize("status", [NEW, RUNNING, Status.SUSPENDED])
def test_works_not_released_are_barred_by_an_order_to_end(intent: Intent, verb: str, status: Status) -> None:
    decision = decide(a_request(*CHAIN, intent=intent, status=status), Progressed({"a": RUNNING, "b": NEW}), NOW)
    assert decision.entity.status is RUNNING
    assert decision.instructions == (Bar("b", f"the request was {verb}"),)


def test_what_cannot_be_advanced_fails_with_the_reason() -> None:
    decision = decide(a_request(*CHAIN), Broke("poison"), NOW)
    assert (decision.entity.status, decision.entity.reason) == (FAILED, "poison")


@pytest.mark.parametrize(
    ("before", "possible"),
    [
        (RUN, set(Intent)),
        (SUSPEND, set(Intent)),
        (FINISH, {FINISH, CANCEL, EXPIRE}),
        (CANCEL, {CANCEL}),
        (EXPIRE, {EXPIRE}),
    ],
)
def test_a_cancel_is_never_taken_back_and_an_early_end_only_by_a_cancel(before: Intent, possible: set[Intent]) -> None:
    request = a_request(*CHAIN, intent=before)
    assert {intent for intent in Intent if may_order(request, intent)} == possible
    for intent in Intent:
        after = decide(request, Ordered(intent), NOW).entity
        assert after.intent is (intent if intent in possible else before)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_one_stays_as_it_is(status: Status) -> None:
    ended = a_request(*CHAIN, status=status)
    events: list[RequestEvent] = [*map(Ordered, Intent), Broke("late"), Progressed({"a": NEW, "b": RUNNING})]
    for event in events:
        decision = decide(ended, event, NOW)
        assert decision.entity == ended
        assert decision.instructions == ()


works = st.sampled_from([NEW, RUNNING, *sorted(TERMINAL)])
events = st.one_of(
    st.builds(Ordered, st.sampled_from(Intent)),
    st.builds(lambda a, b: Progressed({"a": a, "b": b}), works, works),
    st.just(Broke("broke")),
)


@given(st.lists(events, max_size=12), st.sampled_from([NEW, RUNNING, Status.SUSPENDED]))
def test_whatever_comes_only_allowed_transitions_happen_and_ends_stay(
    sequence: list[RequestEvent], status: Status
) -> None:
    request = a_request(*CHAIN, status=status)
    for now, event in enumerate(sequence, NOW):
        decision = decide(request, event, now)
        after = decision.entity
        if request.status in TERMINAL:
            assert after == request
            assert not decision.instructions
        elif after.status is not request.status and not (request.status is NEW and isinstance(event, Progressed)):
            assert after.status in transitions.REQUEST[request.status]
        if request.intent is CANCEL:
            assert after.intent is CANCEL
        if request.intent in (CANCEL, FINISH, SUSPEND):
            assert not any(isinstance(i, Release) for i in decision.instructions)
        assert after.changed_at in (request.changed_at, now)
        assert after.changed_at >= THEN
        request = after


@st.composite
def workflows(draw: st.DrawFn) -> tuple[Work, ...]:
    """Acyclic works in a shuffled order: after others, or taking their outputs."""
    made: list[Work] = []
    for index in range(draw(st.integers(1, 7))):
        names = [work.name for work in made]
        after = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3))) if names else ()
        source = draw(st.none() | st.sampled_from(names)) if names else None
        work = makes(f"w{index}", after=after) if source is None else takes(f"w{index}", source, after=after)
        made.append(replace(work, output=makes("x").output))
    return tuple(draw(st.permutations(made)))


@given(workflows(), st.data())
def test_every_workflow_ends_with_its_works_released_in_order(works: tuple[Work, ...], data: st.DataObject) -> None:
    request = a_request(*works, status=NEW)
    assert graph.problems(request.workflow) == []
    states = {work.name: NEW for work in works}
    steps = 0
    while not request.status.is_terminal:
        steps += 1
        assert steps <= 4 * len(works) + 4, "it does not end"
        if data.draw(st.integers(0, 30)) == 0:
            request = decide(request, Ordered(data.draw(st.sampled_from([CANCEL, FINISH]))), NOW).entity
        decision = decide(request, Progressed(dict(states)), NOW)
        request = decision.entity
        for instruction in decision.instructions:
            work = request.workflow.work(instruction.work)
            assert states[work.name] is NEW
            match instruction:
                case Release():
                    assert all(states[name] in (DONE, Status.SUBFINISHED) for name in work.after)
                    assert all(states[name] is not NEW for name in graph.parents(work))
                    states[work.name] = RUNNING
                case Bar(_, reason):
                    assert reason
                    states[work.name] = Status.CANCELLED
        running = [name for name, status in states.items() if status is RUNNING]
        # A work that takes outputs ends after the one that makes them.
        free = [
            name
            for name in running
            if (source := request.workflow.work(name).input) is None or states[str(source.outputs)].is_terminal
        ]
        if free:
            name = data.draw(st.sampled_from(sorted(free)))
            states[name] = data.draw(st.sampled_from([DONE, Status.SUBFINISHED, FAILED, Status.CANCELLED]))
        else:
            assert not running
    assert all(status.is_terminal for status in states.values())
    if request.intent is RUN:
        assert request.status is graph.verdict(states)
        assert (request.status is DONE) == all(status is DONE for status in states.values())
        assert (request.status is FAILED) == all(status in (FAILED, Status.CANCELLED) for status in states.values())
