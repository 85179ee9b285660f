"""What is admitted next: properties that hold for any standing, and the cases that people ask about."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from idds.domain.identifiers import CollectionId, ContentId, RequestId
from idds.domain.replica import Window
from idds.engine.planner import Demand, Plan, Policy, Standing, Tape, plan
from idds.engine.shares import Share
from idds.engine.window import Candidate, Wanted, never
from tests.unit.engine.examples import a_window

NOW = 10**9
POLICY = Policy(run_files=5, patience=100, longest_wait=10_000)


def groups(*sizes: int, first: int = 0, files: int = 1, pinnable: bool = False) -> tuple[Candidate, ...]:
    """A group for each size, of so many files of that size."""
    return tuple(
        Candidate(number, tuple(Wanted(ContentId(number), f"data:f{number}.{i}", size, pinnable) for i in range(files)))
        for number, size in enumerate(sizes, first)
    )


def demand(number: int, *sizes: int, **changes: object) -> Demand:
    made = Demand(CollectionId(number), RequestId(number), waiting_since=NOW, heads=groups(*sizes))
    return replace(made, **changes)  # type: ignore[arg-type]


def given_to(made: Plan) -> dict[int, int]:
    """Groups that each input was given."""
    return {admission.demand.collection: len(admission.groups) for admission in made.admissions}


def of(*demands: Demand, window: Window | None = None, **more: object) -> Standing:
    return replace(Standing("DISK", window, demands), **more)  # type: ignore[arg-type]


def test_all_that_fits_is_admitted_in_order() -> None:
    made = plan(of(demand(1, 3, 4, 4), window=a_window(10)), POLICY, NOW)
    (admission,) = made.admissions
    assert ([group.group_no for group in admission.groups], admission.bytes, admission.files) == ([0, 1], 7, 2)
    assert made.waits == {1: FULL.format(7, 10, 4)}


FULL = "the window of RSE DISK has {} of {} bytes reserved, the next takes {}"


def test_a_small_group_does_not_overtake_a_large_one_of_its_own_input() -> None:
    made = plan(of(demand(1, 8, 1), window=a_window(10, reserved_bytes=5)), POLICY, NOW)
    assert (made.admissions, made.waits) == ((), {1: FULL.format(5, 10, 8)})


def test_what_is_larger_than_a_window_is_refused_and_holds_up_nobody() -> None:
    made = plan(of(demand(1, 11, 5), window=a_window(10)), POLICY, NOW)
    assert [(each.group.group_no, each.reason) for each in made.refusals] == [
        (0, "file data:f0.0 has 11 bytes, more than the window of RSE DISK holds (10 bytes)")
    ]
    assert [group.group_no for group in made.admissions[0].groups] == [1]


def test_a_file_that_is_being_deleted_is_passed_over_and_told() -> None:
    blocked = Candidate(0, (Wanted(ContentId(1), "data:f", 1, blocked=True),))
    made = plan(of(demand(1, heads=(blocked, *groups(1, first=1)))), POLICY, NOW)
    assert [group.group_no for group in made.admissions[0].groups] == [1]
    assert made.waits == {1: "of the next, 'data:f' is being deleted"}


def test_what_is_there_is_pinned_whatever_stands_before_it() -> None:
    shrunk = a_window(10, reserved_bytes=50)
    heads = (*groups(9), *groups(6, first=1, pinnable=True))
    (admission,) = plan(of(demand(1, heads=heads), window=shrunk), POLICY, NOW).admissions
    assert ([group.group_no for group in admission.groups], admission.bytes) == ([1], 0)


def joins(number: int, *, present: bool, first: int = 50) -> tuple[Candidate, ...]:
    """Groups of one byte that somebody else has on disk, or on its way there."""
    wanted = (Wanted(ContentId(no), f"f{no}", 1, True, is_present=present) for no in range(first, first + number))
    return tuple(Candidate(wish.content_id, (wish,)) for wish in wanted)


def test_what_others_have_recalled_is_joined_wherever_it_stands() -> None:
    late = demand(1, 9, joins=joins(3, present=False), more=True)
    (admission,) = plan(of(late, window=a_window(10, reserved_bytes=10)), POLICY, NOW).admissions
    assert ([group.group_no for group in admission.groups], admission.bytes) == ([50, 51, 52], 0)


def test_who_has_a_run_recalled_by_others_recalls_only_what_nobody_else_has_use_for() -> None:
    """It joins them now, and reads what it missed when they have ended."""
    late = demand(1, *[1] * 9, joins=joins(4, present=False), pinned_files=2, held_files=1)
    others = demand(2, *[1] * 30)
    disk = a_window(None, 200, reserved_files=180)
    made = plan(of(late, others, window=disk), POLICY, NOW)
    assert given_to(made) == {1: 4, 2: 20}
    assert made.waits[CollectionId(1)] == (
        "what comes free of the window of RSE DISK is kept for those whose files nobody else recalls"
    )
    assert given_to(plan(of(late, replace(others, heads=groups(1)), window=disk), POLICY, NOW)) == {1: 4 + 9, 2: 1}
    assert given_to(plan(of(late, replace(others, hold="no tape"), window=disk), POLICY, NOW)) == {1: 4 + 9}
    few = replace(late, joins=joins(3, present=False))
    assert given_to(plan(of(few, others, window=disk), POLICY, NOW)) == {1: 3 + 9, 2: 10}
    old = replace(late, waiting_since=NOW - POLICY.longest_wait, held_files=0)
    assert given_to(plan(of(old, others, window=disk), POLICY, NOW))[1] > 4
    fast = Share("fast", is_express=True)
    assert given_to(plan(of(replace(late, share="fast"), others, window=disk, shares=(fast,)), POLICY, NOW))[1] == 4 + 9
    # The others may have so little weight that it would wait for its files for long.
    assert given_to(plan(of(replace(late, priority=100), others, window=disk), POLICY, NOW))[1] > 4
    assert (
        given_to(plan(of(replace(late, priority=100), replace(others, priority=100), window=disk), POLICY, NOW))[1] == 4
    )


def test_who_processes_slowly_joins_no_more_than_its_part_of_the_disk_and_in_half_of_it_only_what_landed() -> None:
    full = a_window(40, reserved_bytes=40)
    slow = demand(1, 9, joins=(*joins(30, present=False), *joins(30, present=True, first=80)))
    made = plan(of(replace(slow, pinned_bytes=15, pinned_files=15), demand(2, 9), window=full), POLICY, NOW)
    assert [group.group_no for group in made.admissions[0].groups] == [80, 81, 82, 83, 84]
    made = plan(of(replace(slow, pinned_bytes=8), demand(2, 9), window=full), POLICY, NOW)
    assert [group.group_no for group in made.admissions[0].groups] == list(range(80, 92))
    coming = replace(slow, joins=joins(30, present=False), pinned_bytes=8)
    made = plan(of(coming, demand(2, 9), window=full), POLICY, NOW)
    assert [group.group_no for group in made.admissions[0].groups] == [50, 51]
    made = plan(of(replace(slow, pinned_bytes=20, pinned_files=20), demand(2, 9), window=full), POLICY, NOW)
    assert made.admissions == ()


def test_one_freed_file_makes_no_recall_of_a_single_file() -> None:
    """Room for a run is gathered, but not for ever, and not while nothing else is under way."""
    window = a_window(None, 40, reserved_files=39)
    waits = demand(1, *[1] * 30, held_files=39, in_flight=9, waiting_since=NOW - 50)
    made = plan(of(waits, window=window), POLICY, NOW)
    assert (made.admissions, made.again_at) == ((), NOW + 50)
    assert made.waits[CollectionId(1)].startswith("room for a run of files is gathered: the window of RSE DISK has 39")
    assert given_to(plan(of(waits, window=window), POLICY, NOW + 50)) == {1: 1}
    assert given_to(plan(of(replace(waits, in_flight=0), window=window), POLICY, NOW)) == {1: 1}
    assert given_to(plan(of(waits, window=a_window(None, 40, reserved_files=35)), POLICY, NOW)) == {1: 5}
    assert given_to(plan(of(replace(waits, heads=groups(1)), window=window), POLICY, NOW)) == {1: 1}  # its queue ends


def test_a_run_is_no_larger_than_a_part_of_what_it_has_to_fit_into() -> None:
    small = demand(1, *[1] * 9, held_files=7, in_flight=3)
    assert given_to(plan(of(small, window=a_window(None, 8, reserved_files=6)), POLICY, NOW)) == {1: 2}


def test_tapes_take_so_many_recalls_and_a_held_one_none() -> None:
    tapes = (Tape("A", 3, limit_files=4), Tape("B"))
    one, two = demand(1, 1, 1, tape="A"), demand(2, 1, tape="B", hold="tape B is held: a drive is repaired")
    made = plan(of(one, two, tapes=tapes), POLICY, NOW)
    assert given_to(made) == {1: 1}
    assert made.waits == {
        1: "tape A has 4 of 4 files in flight, the next takes 1",
        2: "tape B is held: a drive is repaired",
    }


def test_a_group_of_more_files_than_a_tape_takes_is_recalled_alone() -> None:
    large = demand(1, tape="A", heads=groups(1, 1, files=6))
    assert given_to(plan(of(large, tapes=(Tape("A", limit_files=4),)), POLICY, NOW)) == {1: 1}
    assert given_to(plan(of(large, tapes=(Tape("A", 1, limit_files=4),)), POLICY, NOW)) == {}


def test_nothing_is_brought_to_a_disk_that_is_held() -> None:
    made = plan(of(demand(1, 1), hold="it is moved"), POLICY, NOW)
    assert (made.admissions, made.waits) == ((), {1: "RSE DISK is held: it is moved"})


def test_an_express_share_goes_first_and_a_quota_bounds_a_share() -> None:
    fast = Share("fast", is_express=True, held_bytes=90, quota=a_window(100, reserved_bytes=90, kind="share"))
    demands = (demand(1, *[1] * 50), demand(2, *[1] * 50, share="fast"))
    made = plan(of(*demands, window=a_window(20), shares=(fast,)), POLICY, NOW)
    assert given_to(made) == {1: 10, 2: 10}
    assert "the quota of share" in made.waits[CollectionId(2)]


def test_shares_divide_by_weight_and_requests_by_priority() -> None:
    shares = (Share("a", weight=3.0), Share("b"))
    demands = [demand(number, *[1] * 400, share="a" if number < 2 else "b") for number in range(3)]
    window = a_window(None, 400)
    made = plan(of(*demands, window=window, shares=shares), POLICY, NOW)
    assert given_to(made) == {0: 150, 1: 150, 2: 100}
    made = plan(of(replace(demands[0], priority=100), *demands[1:2], window=window), POLICY, NOW)
    parts = given_to(made)
    assert abs(parts[0] - 2 * parts[1]) <= 2 * POLICY.run_files


def test_what_an_operator_forces_goes_before_all_and_room_is_kept_for_it() -> None:
    forced = demand(9, 8, forced_at=5, held_bytes=100)
    made = plan(of(demand(1, 1), forced, window=a_window(10, reserved_bytes=5)), POLICY, NOW)
    assert made.admissions == ()
    assert made.waits == {
        1: "what comes free of the window of RSE DISK is kept for request 9, whose turn it is",
        9: FULL.format(5, 10, 8),
    }


def test_room_is_kept_for_who_holds_nothing_and_has_waited_too_long() -> None:
    large = demand(1, 80, waiting_since=NOW - POLICY.longest_wait)
    window = a_window(100, reserved_bytes=30)
    assert given_to(plan(of(large, demand(2, 1), window=window), POLICY, NOW)) == {}
    patient = replace(large, waiting_since=NOW - POLICY.longest_wait + 7)
    made = plan(of(patient, demand(2, 1), window=window), POLICY, NOW)
    assert (given_to(made), made.again_at) == ({2: 1}, NOW + 7)


def test_a_batch_that_is_not_complete_waits_for_the_rest() -> None:
    assert plan(of(demand(1)), POLICY, NOW).waits == {1: "none of its groups is complete yet"}


sizes = st.lists(st.integers(1, 30), max_size=12)
limits = st.none() | st.integers(1, 60)


@st.composite
def demands(draw: st.DrawFn, number: int) -> Demand:
    window = None
    if draw(st.booleans()):
        held = draw(st.integers(0, 30)), draw(st.integers(0, 10))
        window = a_window(draw(limits), draw(limits), reserved_bytes=held[0], reserved_files=held[1], kind="collection")
    heads = tuple(
        Candidate(
            no,
            tuple(
                Wanted(ContentId(10 * no + i), f"f{no}.{i}", size, draw(st.booleans()), draw(st.integers(0, 9)) == 0)
                for i in range(draw(st.integers(1, 3)))
            ),
        )
        for no, size in enumerate(draw(sizes))
    )
    behind = joins(draw(st.integers(0, 5)), present=draw(st.booleans()))
    return Demand(
        CollectionId(number),
        RequestId(draw(st.integers(1, 3))),
        draw(st.sampled_from(["", "a", "b"])),
        draw(st.integers(-500, 500)),
        held_bytes=draw(st.integers(0, 40)),
        held_files=draw(st.integers(0, 5)),
        in_flight=draw(st.integers(0, 5)),
        window=window,
        tape=draw(st.sampled_from([None, "A", "B"])),
        waiting_since=NOW - draw(st.integers(0, 20_000)),
        forced_at=draw(st.none() | st.integers(0, NOW)),
        hold="tape A is held: it is broken" if draw(st.integers(0, 5)) == 0 else None,
        heads=heads,
        more=draw(st.booleans()),
        joins=behind,
        pinned_bytes=draw(st.integers(0, 30)),
        pinned_files=draw(st.integers(0, 5)),
    )


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    window = a_window(draw(limits), draw(limits), reserved_bytes=draw(st.integers(0, 70)), reserved_files=0)
    quota = a_window(draw(limits), None, reserved_bytes=draw(st.integers(0, 30)), kind="share")
    shares = (Share("a", 2.0, draw(st.booleans()), 30, quota if draw(st.booleans()) else None),)
    tape = Tape("A", draw(st.integers(0, 5)), 0, draw(limits))
    inputs = tuple(draw(demands(number)) for number in range(draw(st.integers(0, 4))))
    return Standing("DISK", window, inputs, (tape,), shares, "it is full" if draw(st.integers(0, 9)) == 0 else None)


def _within(window: Window | None, size: int, files: int) -> bool:
    if window is None:
        return True
    bytes_fit = not size or window.limit_bytes is None or window.reserved_bytes + size <= window.limit_bytes
    return bytes_fit and (
        not files or window.limit_files is None or window.reserved_files + files <= window.limit_files
    )


@given(standings())
def test_never_above_a_limit(standing: Standing) -> None:
    made = plan(standing, POLICY, NOW)
    assert _within(standing.window, sum(a.bytes for a in made.admissions), sum(a.files for a in made.admissions))
    for admission in made.admissions:
        assert _within(admission.demand.window, admission.bytes, admission.files)
        assert admission.bytes == sum(group.bytes for group in admission.groups)
        assert admission.files == sum(group.files for group in admission.groups)
    of_share = [admission for admission in made.admissions if admission.demand.share == "a"]
    assert _within(standing.shares[0].quota, sum(a.bytes for a in of_share), sum(a.files for a in of_share))
    (tape,) = standing.tapes
    of_tape = [admission for admission in made.admissions if admission.demand.tape == tape.name and admission.files]
    if of_tape and tape.limit_files is not None:
        alone = not tape.in_flight_files and sum(group.files > 0 for a in of_tape for group in a.groups) == 1
        assert alone or tape.in_flight_files + sum(a.files for a in of_tape) <= tape.limit_files
    assert not any(each.files for each in made.admissions if each.demand.hold)
    assert not (made.admissions and standing.hold)


@given(standings())
def test_every_group_is_decided_on_once_and_whoever_is_left_knows_why(standing: Standing) -> None:
    made = plan(standing, POLICY, NOW)
    assert plan(standing, POLICY, NOW) == made
    decided = Counter((a.demand.collection, group.group_no) for a in made.admissions for group in a.groups)
    decided.update((refusal.demand.collection, refusal.group.group_no) for refusal in made.refusals)
    assert set(decided.values()) <= {1}
    for each in standing.demands:
        left = [group for group in each.heads if (each.collection, group.group_no) not in decided]
        assert not left or each.collection in made.waits
        if standing.hold is None:
            windows = [w for w in (standing.window, each.window, _quota(standing, each)) if w is not None]
            refused = {r.group.group_no for r in made.refusals if r.demand is each}
            assert refused == {g.group_no for g in each.heads if any(never(g, window) for window in windows)}
    assert made.again_at is None or made.again_at > NOW


def _quota(standing: Standing, each: Demand) -> Window | None:
    return next((share.quota for share in standing.shares if share.name == each.share), None)


@given(standings())
def test_room_is_left_only_where_a_run_is_gathered_or_room_is_kept(standing: Standing) -> None:
    """Work-conserving up to that: what could go in at once, and is not, has a reason that is not the room."""
    made = plan(standing, POLICY, NOW)
    total = sum(a.bytes for a in made.admissions), sum(a.files for a in made.admissions)
    admitted = {admission.demand.collection: admission for admission in made.admissions}
    for each in standing.demands:
        reason = made.waits.get(each.collection)
        if reason is None or not reason.startswith(("the window", "the quota", "tape")) or " is held" in reason:
            continue
        mine = admitted.get(each.collection)
        taken = {group.group_no for group in mine.groups} if mine is not None else set()
        refused = {refusal.group.group_no for refusal in made.refusals if refusal.demand is each}
        first = next(
            g for g in each.heads if g.group_no not in taken | refused and not any(w.blocked for w in g.contents)
        )
        own = (mine.bytes, mine.files) if mine is not None else (0, 0)
        of_share = [a for a in made.admissions if a.demand.share == each.share]
        of_tape = sum(a.files for a in made.admissions if a.demand.tape == each.tape)
        tape = next((tape for tape in standing.tapes if tape.name == each.tape), None)
        assert not (
            _within(standing.window, total[0] + first.bytes, total[1] + first.files)
            and _within(each.window, own[0] + first.bytes, own[1] + first.files)
            and _within(_quota(standing, each), sum(a.bytes for a in of_share) + first.bytes, 0)
            and (
                tape is None
                or tape.limit_files is None
                or tape.in_flight_files + of_tape + first.files <= tape.limit_files
            )
        )


@given(standings())
def test_joining_costs_nothing_and_keeps_no_more_than_a_part_of_the_disk(standing: Standing) -> None:
    made = plan(standing, POLICY, NOW)
    of_whom = {admission.demand.collection: admission for admission in made.admissions}
    for each in standing.demands:
        groups = of_whom[each.collection].groups if each.collection in of_whom else ()
        joined = [group for group in groups if group in each.joins]
        assert sum(g.bytes for g in groups) == (of_whom[each.collection].bytes if groups else 0)
        if standing.hold is not None:
            assert not joined
        elif joined and (len(joined) > 1 or each.pinned_files):
            parts, disk = len(standing.demands), standing.window
            assert disk is not None
            assert disk.limit_bytes is None or len(joined) + each.pinned_bytes <= disk.limit_bytes // parts
            assert disk.limit_files is None or len(joined) + each.pinned_files <= disk.limit_files // parts


@given(st.integers(1, 8), st.integers(1, 300))
def test_equal_demands_get_equal_parts(number: int, room: int) -> None:
    demands = [demand(no, *[1] * 300) for no in range(number)]
    made = plan(of(*demands, window=a_window(None, room)), POLICY, NOW)
    parts = [given_to(made).get(no, 0) for no in range(number)]
    assert min(room, 300 * number) - POLICY.run_files < sum(parts) <= room
    assert max(parts) - min(parts) <= POLICY.run_files
