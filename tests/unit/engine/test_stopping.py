"""When a study stops: by time, by what was found, by what was spent."""

import pytest

from idds.domain.course import Plateau, Stop
from idds.engine.stopping import Standing, due_at, folded, met

SECOND = 1_000_000
BEGAN = 1_700_000_000 * SECOND
NOW = BEGAN + 100 * SECOND


def standing(scores: tuple[float | None, ...], stop: Stop, *, minimize: bool = True) -> Standing:
    return folded(Standing(BEGAN), stop, scores, minimize=minimize)


@pytest.mark.parametrize(
    ("stop", "scores", "minimize", "stops"),
    [
        (Stop(target=1.0), (3.0, 2.0), True, False),
        (Stop(target=1.0), (3.0, 1.0, 5.0), True, True),
        (Stop(target=1.0), (0.5,), False, False),
        (Stop(target=1.0), (0.5, 1.5), False, True),
        (Stop(target=1.0), (None, None), True, False),
        (Stop(plateau=Plateau(samples=3)), (1.0, 2.0, 2.0), True, False),
        (Stop(plateau=Plateau(samples=3)), (1.0, 2.0, 2.0, 2.0), True, True),
        (Stop(plateau=Plateau(samples=3)), (4.0, 3.0, 2.0, 1.0), True, False),
        (Stop(plateau=Plateau(samples=3, tolerance=1.5)), (4.0, 3.0, 2.9, 2.8), True, True),
        (Stop(plateau=Plateau(samples=3)), (1.0, 2.0, 3.0, 4.0), False, False),
        (Stop(plateau=Plateau(samples=3)), (1.0, None, None, None), True, True),
        (Stop(time_s=100), (), True, True),
        (Stop(time_s=101), (), True, False),
    ],
)
def test_it_stops_when_one_is_met(stop: Stop, scores: tuple[float | None, ...], minimize: bool, stops: bool) -> None:
    assert (met(stop, standing(scores, stop, minimize=minimize), NOW) is not None) is stops


def test_folding_in_parts_is_the_same_as_at_once() -> None:
    stop = Stop(target=0.0, plateau=Plateau(samples=4, tolerance=0.5))
    scores = (5.0, 4.8, None, 3.0, 2.9, 0.0, 1.0)
    whole = standing(scores, stop)
    parts = standing((), stop)
    for score in scores:
        parts = folded(parts, stop, [score], minimize=True)
    assert parts == whole


def test_a_budget_is_spent_by_what_ended_and_by_what_runs() -> None:
    stop = Stop(budget_s=100)
    # Two were leased 70 and 60 s after it began; one that was leased for 20 s has ended.
    running = Standing(BEGAN, spent=20 * SECOND - 130 * SECOND, running=2)
    assert met(stop, running, NOW) is None
    due = due_at(stop, running, NOW)
    assert due == NOW + 5 * SECOND
    assert met(stop, running, due) == "its samples were evaluated for 100 s together"
    assert due_at(stop, Standing(BEGAN), NOW) is None
    assert due_at(Stop(budget_s=100, time_s=101), running, NOW) == BEGAN + 101 * SECOND
