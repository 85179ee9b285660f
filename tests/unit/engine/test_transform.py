"""Decisions for a transform."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.collection import Collection
from idds.domain.course import Iterations, Stop
from idds.domain.statuses import TERMINAL, ContentStatus, Intent, SourceKind, Status
from idds.domain.workflow import Input, Refill, Samples, Work
from idds.engine import transform as engine
from idds.engine import transitions
from idds.engine.transform import (
    Ask,
    Barred,
    Broke,
    CancelContents,
    CancelProcessings,
    CloseInput,
    CloseOutput,
    End,
    Group,
    Instruction,
    List,
    Progressed,
    Released,
    SubmitAlone,
    decide,
    demanded,
    drawn_at_once,
    flows_on,
)
from tests.unit.engine.examples import NOW, PAYLOAD, SPACE, a_collection, a_transform, files, makes, study, takes

RUN, SUSPEND, CANCEL, FINISH = Intent.RUN, Intent.SUSPEND, Intent.CANCEL, Intent.FINISH
CUT = CloseInput(cut_off=True)
FILES, ALONE, STREAM, STUDY = files(), makes("alone"), takes("stream", "alone"), study(10)
ANNOUNCED = Work(name="announced", input=Input(dataset="data:set"))
C = ContentStatus


def instructions(work: Work, collection: Collection | None, intent: Intent = RUN, **more: object) -> list[Instruction]:
    event = Progressed(collection, intent, **more)  # type: ignore[arg-type]
    decision = decide(a_transform(open_processings=int(more.pop("open_processings", 0))), work, event, NOW)  # type: ignore[call-overload]
    assert decision.entity.status is Status.RUNNING
    return list(decision.instructions)


@pytest.mark.parametrize(("work", "first"), [(FILES, [List()]), (ALONE, [SubmitAlone()]), (STREAM, []), (STUDY, [])])
def test_what_a_release_starts(work: Work, first: list[Instruction]) -> None:
    decision = decide(a_transform(Status.NEW), work, Released(), NOW)
    assert (decision.entity.status, decision.entity.changed_at) == (Status.RUNNING, NOW)
    assert list(decision.instructions) == first


def test_one_that_is_barred_ends_with_the_reason_and_tells_who_waits_for_its_outputs() -> None:
    decision = decide(a_transform(Status.NEW), FILES, Barred("no parent"), NOW)
    assert (decision.entity.status, decision.entity.reason) == (Status.CANCELLED, "no parent")
    assert decision.instructions == (CloseOutput(),)


def test_one_that_cannot_be_carried_out_lets_go_of_all() -> None:
    decision = decide(a_transform(), FILES, Broke("no such dataset"), NOW)
    assert (decision.entity.status, decision.entity.reason) == (Status.FAILED, "no such dataset")
    assert decision.instructions == (CancelContents(), CUT, CloseOutput())


@pytest.mark.parametrize(
    ("work", "collection", "expected"),
    [
        # Files are admitted while some wait; groups are looked for where something may have become available.
        (FILES, a_collection(counts={C.NEW: 3}, unadmitted=2), []),
        (FILES, a_collection(counts={C.NEW: 3}), []),
        (FILES, a_collection(counts={C.AVAILABLE: 1, C.NEW: 3}), [Group()]),
        (FILES, a_collection(counts={C.LEASED: 1}), []),
        (FILES, a_collection(closed=False), []),
        # Without a payload nothing is grouped: consumers outside take it.
        (ANNOUNCED, a_collection(counts={C.NEW: 3}, unadmitted=2), []),
        (ANNOUNCED, a_collection(counts={C.AVAILABLE: 3}), []),
        # Samples are asked for until all have been.
        (STUDY, a_collection(SourceKind.SAMPLES, closed=False, next_no=0), [Ask(10), Group()]),
        (STUDY, a_collection(SourceKind.SAMPLES, {C.LEASED: 4}, closed=False), [Ask(6), Group()]),
        (STUDY, a_collection(SourceKind.SAMPLES, {C.LEASED: 4}, closed=False, next_no=10), []),
        (STUDY, a_collection(SourceKind.SAMPLES, {C.LEASED: 10}, closed=False), [CloseInput(), Group()]),
        (STUDY, a_collection(SourceKind.SAMPLES, {C.LEASED: 10}), []),
    ],
)
def test_what_comes_next(work: Work, collection: Collection, expected: list[Instruction]) -> None:
    assert instructions(work, collection) == expected


@pytest.mark.parametrize(
    ("counts", "asked", "batch", "expected"),
    [
        ({}, 0, 1, [Ask(4)]),
        ({C.AVAILABLE: 1, C.LEASED: 3}, 4, 1, [Ask(3)]),
        ({C.AVAILABLE: 4, C.DONE: 5}, 9, 1, []),
        ({C.AVAILABLE: 2, C.LEASED: 40}, 42, 1, [Ask(8)]),
        # While some are being drawn nobody else asks.
        ({C.LEASED: 40}, 41, 1, []),
        # Whole groups.
        ({}, 0, 8, [Ask(8)]),
        ({C.AVAILABLE: 3, C.LEASED: 5}, 8, 8, []),
        ({C.LEASED: 98}, 98, 8, [Ask(2)]),
    ],
)
def test_of_a_sampler_that_learns_few_samples_wait(
    counts: dict[ContentStatus, int], asked: int, batch: int, expected: list[Instruction]
) -> None:
    samples = Samples(space=SPACE, sampler="tpe", count=100)
    work = Work(name="study", input=Input(samples=samples, batch=batch))
    collection = a_collection(SourceKind.SAMPLES, counts, closed=False, batch=batch, next_no=asked)
    assert instructions(work, collection, room=99) == expected


LEARNS = Samples(space=SPACE, sampler="tpe", count=100)


@pytest.mark.parametrize(
    ("counts", "asked", "demand", "expected"),
    [
        ({C.LEASED: 4}, 4, 0, 4),
        ({C.LEASED: 4}, 4, 13, 13),
        ({C.AVAILABLE: 1, C.LEASED: 4}, 5, 12, 11),
        ({C.AVAILABLE: 4, C.LEASED: 4}, 8, 0, 0),
        ({C.LEASED: 4}, 5, 12, 0),
        ({C.DONE: 98}, 98, 12, 2),
        ({C.DONE: 100}, 100, 12, 0),
    ],
)
def test_what_is_plain_is_drawn_without_a_look_at_the_transform(
    counts: dict[ContentStatus, int], asked: int, demand: int, expected: int
) -> None:
    collection = replace(a_collection(SourceKind.SAMPLES, counts, closed=False, next_no=asked), demand=demand)
    work = Work(name="study", input=Input(samples=LEARNS))
    assert drawn_at_once(work, collection) == expected
    assert flows_on(work, collection)
    # It is what the transform would have asked for.
    asks = [each.count for each in instructions(work, collection, room=None) if isinstance(each, Ask)]
    assert asks == ([expected] if expected else [])


@pytest.mark.parametrize(
    "samples",
    [
        replace(LEARNS, sampler="random"),
        replace(LEARNS, sampler="command"),
        replace(LEARNS, stop=Stop(target=0.0)),
        replace(LEARNS, iterations=Iterations(samples=5)),
        replace(LEARNS, refill=Refill(points=5, below=5)),
    ],
)
def test_what_is_not_plain_is_left_to_the_transform(samples: Samples) -> None:
    collection = a_collection(SourceKind.SAMPLES, {C.DONE: 4}, closed=False)
    work = Work(name="study", input=Input(samples=samples))
    assert drawn_at_once(work, collection) is None
    assert not flows_on(work, collection)
    retried = replace(collection, retried_to=0)
    assert drawn_at_once(Work(name="study", input=Input(samples=LEARNS)), retried) is None


def test_also_then_whole_batches_are_drawn() -> None:
    work = Work(name="study", input=Input(samples=LEARNS, batch=8))
    some = a_collection(SourceKind.SAMPLES, {C.AVAILABLE: 3, C.LEASED: 5}, closed=False, batch=8)
    none = a_collection(SourceKind.SAMPLES, {C.LEASED: 8}, closed=False, batch=8)
    assert (drawn_at_once(work, some), drawn_at_once(work, none)) == (0, 8)
    assert [drawn_at_once(work, each) for each in (some, none)] == [
        sum(ask.count for ask in instructions(work, each) if isinstance(ask, Ask)) for each in (some, none)
    ]


def test_a_study_that_is_closed_goes_on_as_long_as_some_are_open() -> None:
    work = Work(name="study", input=Input(samples=LEARNS))
    assert flows_on(work, a_collection(SourceKind.SAMPLES, {C.DONE: 99, C.LEASED: 1}))
    assert not flows_on(work, a_collection(SourceKind.SAMPLES, {C.DONE: 100}))


@pytest.mark.parametrize(
    ("sampler", "waiting", "noted"), [("tpe", 0, 0), ("tpe", 1, 4), ("tpe", 9, 12), ("grid", 9, 0)]
)
def test_how_many_are_waited_for_is_noted_roughly(sampler: str, waiting: int, noted: int) -> None:
    assert demanded(replace(LEARNS, sampler=sampler), waiting) == noted


@pytest.mark.parametrize(
    ("counts", "asked", "sampler", "expected"),
    [
        ({}, 0, "tpe", [Ask(20)]),
        ({}, 0, "random", [Ask(20)]),
        # Whoever evaluates them takes no lease, or takes one.
        ({C.AVAILABLE: 4, C.LEASED: 1, C.DONE: 15}, 20, "tpe", []),
        ({C.AVAILABLE: 3, C.LEASED: 1, C.DONE: 15, C.FAILED: 1}, 20, "tpe", [Ask(20)]),
        ({C.AVAILABLE: 3, C.DONE: 17}, 40, "tpe", []),
        ({C.DONE: 90}, 90, "tpe", [Ask(10)]),
    ],
)
def test_a_refill_is_drawn_when_few_have_not_ended(
    counts: dict[ContentStatus, int], asked: int, sampler: str, expected: list[Instruction]
) -> None:
    samples = Samples(space=SPACE, sampler=sampler, count=100, refill=Refill(points=20, below=5))
    collection = a_collection(SourceKind.SAMPLES, counts, closed=False, next_no=asked)
    assert instructions(Work(name="study", input=Input(samples=samples)), collection, room=99) == expected


@pytest.mark.parametrize(
    ("room", "batch", "expected"),
    [(0, 1, []), (4, 1, [Ask(4), Group()]), (4, 3, [Ask(3), Group()]), (2, 3, []), (99, 3, [Ask(10), Group()])],
)
def test_samples_are_asked_for_in_whole_batches_as_there_is_room(
    room: int, batch: int, expected: list[Instruction]
) -> None:
    collection = a_collection(SourceKind.SAMPLES, closed=False, batch=batch, next_no=0)
    assert instructions(STUDY, collection, room=room) == expected


def test_a_stream_is_closed_when_its_source_has_ended() -> None:
    open_ = a_collection(SourceKind.OUTPUTS, {C.LEASED: 1}, closed=False)
    assert instructions(STREAM, open_, source_ended=False) == []
    assert instructions(STREAM, open_, source_ended=True) == [CloseInput(), Group()]
    assert instructions(STREAM, replace(open_, is_closed=True), source_ended=True) == []


def test_nothing_new_starts_while_it_is_suspended() -> None:
    assert instructions(FILES, a_collection(counts={C.NEW: 3, C.AVAILABLE: 1}, unadmitted=2), SUSPEND) == []


@pytest.mark.parametrize(
    ("counts", "closed", "expected"),
    [
        ({C.NEW: 1, C.LEASED: 1}, True, [CUT, CancelContents()]),
        ({C.AVAILABLE: 1, C.LEASED: 1}, True, [CUT, CancelContents()]),
        ({C.LEASED: 1}, False, [CUT, CancelContents()]),
        ({C.LEASED: 1}, True, []),
    ],
)
def test_an_early_end_waits_for_what_is_taken_and_cancels_the_rest(
    counts: Mapping[C, int], closed: bool, expected: list[Instruction]
) -> None:
    collection = a_collection(counts=counts, closed=closed)
    assert instructions(FILES, collection, FINISH) == expected
    assert instructions(FILES, collection, CANCEL) == expected
    decision = decide(a_transform(open_processings=2), FILES, Progressed(collection, CANCEL), NOW)
    assert list(decision.instructions) == [*expected, CancelProcessings()]


@pytest.mark.parametrize(
    ("counts", "intent", "status", "reason"),
    [
        ({}, RUN, Status.FINISHED, None),
        ({C.DONE: 2}, RUN, Status.FINISHED, None),
        ({C.DONE: 2}, FINISH, Status.FINISHED, None),
        ({C.DONE: 2}, SUSPEND, Status.FINISHED, None),
        ({C.DONE: 2, C.FAILED: 1}, RUN, Status.SUBFINISHED, "2 of 3 contents done, 1 failed, 0 cancelled"),
        ({C.DONE: 2, C.MISSING: 1}, RUN, Status.SUBFINISHED, "2 of 3 contents done, 1 failed, 0 cancelled"),
        ({C.DONE: 1, C.CANCELLED: 3}, FINISH, Status.SUBFINISHED, "1 of 4 contents done, 0 failed, 3 cancelled"),
        ({C.FAILED: 2}, RUN, Status.FAILED, "0 of 2 contents done, 2 failed, 0 cancelled"),
        ({C.DONE: 1, C.CANCELLED: 3}, CANCEL, Status.CANCELLED, "cancelled by order"),
    ],
)
def test_its_end(counts: Mapping[C, int], intent: Intent, status: Status, reason: str | None) -> None:
    decision = decide(a_transform(), FILES, Progressed(a_collection(counts=counts), intent), NOW)
    assert (decision.entity.status, decision.entity.reason) == (status, reason)
    assert decision.instructions == (CloseOutput(),)


def test_it_does_not_end_before_its_input_is_closed_and_its_processings_have_ended() -> None:
    done = a_collection(counts={C.DONE: 2})
    for transform, collection in (
        (a_transform(), replace(done, is_closed=False)),
        (a_transform(open_processings=1), done),
    ):
        assert decide(transform, FILES, Progressed(collection, RUN), NOW).entity == transform


@pytest.mark.parametrize(
    ("intent", "finished", "status"),
    [
        (RUN, True, Status.FINISHED),
        (RUN, False, Status.FAILED),
        (FINISH, True, Status.FINISHED),
        (CANCEL, True, Status.FINISHED),
        (CANCEL, False, Status.CANCELLED),
    ],
)
def test_one_without_an_input_ends_with_its_processing(intent: Intent, finished: bool, status: Status) -> None:
    end = End(Status.FINISHED, None) if finished else End(Status.FAILED, "exit code 1")
    decision = decide(a_transform(), ALONE, Progressed(None, intent, alone=end), NOW)
    assert decision.entity.status is status
    assert (decision.entity.reason is None) == (status is Status.FINISHED)
    assert status is not Status.FAILED or decision.entity.reason == "exit code 1"
    assert decision.instructions == (CloseOutput(),)


def test_one_without_an_input_waits_for_its_processing_which_only_a_cancel_ends() -> None:
    running = a_transform(open_processings=1)
    for intent in (RUN, SUSPEND, FINISH):
        assert decide(running, ALONE, Progressed(None, intent), NOW).instructions == ()
    assert decide(running, ALONE, Progressed(None, CANCEL), NOW).instructions == (CancelProcessings(),)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_one_stays_as_it_is(status: Status) -> None:
    ended = a_transform(status)
    events: list[engine.TransformEvent] = [
        Released(),
        Barred("late"),
        Broke("late"),
        Progressed(a_collection(), RUN),
        Progressed(None, CANCEL),
    ]
    for event in events:
        decision = decide(ended, FILES, event, NOW)
        assert decision.entity == ended
        assert decision.instructions == ()


counts = st.dictionaries(st.sampled_from(C), st.integers(0, 3), max_size=4)
collections = st.builds(
    a_collection,
    st.sampled_from([SourceKind.DATASET, SourceKind.OUTPUTS]),
    counts,
    closed=st.booleans(),
    batch=st.integers(0, 3),
    unadmitted=st.integers(0, 3),
)
events = st.one_of(
    st.builds(Barred, st.just("barred")),
    st.builds(Broke, st.just("broke")),
    st.builds(Progressed, collections, st.sampled_from(Intent), source_ended=st.booleans()),
)


@given(st.lists(events, max_size=8), st.integers(0, 2))
def test_whatever_comes_only_allowed_transitions_happen_and_ends_stay(
    sequence: list[engine.TransformEvent], processings: int
) -> None:
    transform = decide(a_transform(Status.NEW, processings), FILES, Released(), NOW).entity
    for now, event in enumerate(sequence, NOW + 1):
        decision = decide(transform, FILES, event, now)
        after = decision.entity
        if transform.status.is_terminal:
            assert after == transform
            assert not decision.instructions
            continue
        if after.status is not transform.status:
            assert after.status in transitions.TRANSFORM[transform.status]
            assert CloseOutput() in decision.instructions
        if isinstance(event, Progressed) and after == transform:
            new_work = {type(i) for i in decision.instructions} & {Ask, Group, List, SubmitAlone}
            assert event.intent is RUN or not new_work
            assert event.intent in (CANCEL, Intent.EXPIRE) or CancelProcessings() not in decision.instructions
        transform = after


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 12), st.data())
def test_a_study_ends_having_asked_for_each_sample_once(count: int, batch: int, size: int, data: st.DataObject) -> None:
    """Samples drawn as they are asked for, evaluated in any order, in a window of `size`."""
    window = max(size, batch)
    work = Work(name="study", payload=PAYLOAD, input=replace(study(count).input, batch=batch))  # type: ignore[type-var]
    collection = a_collection(SourceKind.SAMPLES, closed=False, batch=batch, next_no=0)
    transform = a_transform()
    in_flight, asked = 0, 0
    for _ in range(4 * count + 4):
        event = Progressed(collection, RUN, room=window - in_flight)
        decision = decide(transform, work, event, NOW)
        transform = decision.entity
        for instruction in decision.instructions:
            match instruction:
                case Ask(number):
                    assert in_flight + number <= window
                    # Whole batches, but for the last.
                    assert number % batch == 0 or asked + number == count
                    asked += number
                    in_flight += number
                    available = collection.counts[C.AVAILABLE] + number
                    fresh = {**collection.counts, C.AVAILABLE: available}
                    collection = a_collection(SourceKind.SAMPLES, fresh, closed=False, batch=batch, next_no=asked)
                case CloseInput():
                    collection = replace(collection, is_closed=True)
                case _:
                    pass
        if transform.status.is_terminal:
            break
        if in_flight and (ended := data.draw(st.integers(1, in_flight))):
            in_flight -= ended
            before = collection.counts
            fresh = {C.AVAILABLE: before[C.AVAILABLE] - ended, C.DONE: before[C.DONE] + ended}
            collection = replace(collection, counts=a_collection(counts=fresh).counts)
    assert transform.status is Status.FINISHED
    assert asked == count


def test_a_work_that_was_fed_nothing_by_one_that_came_to_nothing_is_barred() -> None:
    """Whether it was released before or after the other failed must not matter."""
    reason = "it needs work 'alone', which ended failed"
    for counts, ended in (({}, (Status.CANCELLED, reason)), ({C.DONE: 1}, (Status.FINISHED, None))):
        event = Progressed(a_collection(SourceKind.OUTPUTS, counts), RUN, source_ended=True, barred_by=reason)
        after = decide(a_transform(), STREAM, event, NOW).entity
        assert (after.status, after.reason) == ended
