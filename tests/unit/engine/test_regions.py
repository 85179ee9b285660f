"""Redefining a space around the best: shrinking by bounded steps, growing where the best lie at the edge."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from idds.domain.course import Around
from idds.domain.redefinition import Change, Narrow, Redefinition, Widen
from idds.domain.space import Parameter, Space
from idds.domain.workflow import Samples
from idds.engine.redefinition import redefined
from idds.engine.regions import around, leading, limits_of
from idds.engine.spaces import spaces_of
from idds.search.points import value_at
from tests.unit.search.spaces import floats, ints

LIMITS = Space({"x": Parameter(type="float", low=0, high=10)})


def space(**bounds: Any) -> Space:
    return Space({"x": Parameter(type="float", **bounds)})


def points(*values: float) -> list[dict[str, float]]:
    return [{"x": value} for value in values]


def test_the_range_becomes_that_of_the_best_and_a_margin() -> None:
    rule = Around(margin=0.05, shrink=0.1)
    (change,) = around(LIMITS, LIMITS, points(3, 2, 4), rule)
    assert isinstance(change, Narrow)
    assert [round(end or 0, 6) for end in (change.low, change.high)] == [1.5, 4.5]


def test_it_shrinks_by_no_more_than_the_factor() -> None:
    rule = Around(margin=0, shrink=0.5)
    (change,) = around(LIMITS, LIMITS, points(3), rule)
    assert isinstance(change, Narrow)
    assert [round(end or 0, 6) for end in (change.low, change.high)] == [0.5, 5.5]
    # Next to the edge what does not fit there is added at the other side.
    (change,) = around(LIMITS, LIMITS, points(1), rule)
    assert isinstance(change, Narrow)
    assert change.low is None
    assert round(change.high or 0, 6) == 5


def test_it_grows_where_the_best_lie_at_its_edge_up_to_what_was_given() -> None:
    rule = Around(margin=0.5, shrink=0.5)
    changes = around(space(low=2, high=4), LIMITS, points(3.9, 4.0), rule)
    assert [type(change) for change in changes] == [Widen, Narrow]
    assert [(getattr(c, "low", None), round(c.high or 0, 6)) for c in changes[:1]] == [(None, 5)]  # type: ignore[union-attr]
    assert around(LIMITS, LIMITS, points(0, 10), rule) == []


def test_the_best_part_is_that_of_all_results_that_fit() -> None:
    ranked = points(*range(10))
    assert leading(ranked, 10, 0.25) == (points(0, 1, 2), 10)
    assert leading([ranked[0], None, ranked[2], None], 4, 0.5) == (points(0), 2)
    assert leading([], 0, 1) == ([], 0)
    # Of more than are ranked half are taken to fit, of which the best that are known must do.
    assert leading([ranked[0], None, ranked[2], None], 8, 0.5) == (points(0, 2), 4)
    assert leading(ranked, 1000, 0.5) == (ranked, 1000)


def test_what_the_rule_did_bounds_nothing_later_but_what_people_said_does() -> None:
    samples = Samples(space={"x": Parameter(type="float", low=0, high=10)}, count=1)
    steps: list[tuple[int | None, Change]] = [
        (2, Narrow(parameter="x", low=4, high=6)),
        (None, Narrow(parameter="x", high=5)),
        (None, Widen(parameter="x", low=3)),
        (3, Narrow(parameter="x", low=4.5)),
    ]
    made = [Redefinition((change,), iteration) for iteration, change in steps]
    bounds = limits_of(samples, made).space["x"]
    assert (bounds.low, bounds.high) == (0, 5)


@given(
    limit=floats() | ints(),
    units=st.lists(st.floats(0, 0.999), min_size=1, max_size=20),
    rule=st.builds(Around, best=st.floats(0.01, 1), margin=st.floats(0, 1), shrink=st.floats(0.01, 1)),
)
def test_what_comes_of_it_is_a_space_that_has_the_best(limit: Parameter, units: list[float], rule: Around) -> None:
    samples = Samples(space={"x": limit}, count=1)
    best = leading([{"x": value_at(limit, u)} for u in units], len(units), rule.best)[0]
    limits = spaces_of(samples)[0]
    for _ in range(3):
        now = spaces_of(samples)[0]
        samples, problems = redefined(samples, around(now, limits, best, rule))
        assert problems == []
        bounds = samples.space["x"]
        assert bounds.low is not None
        assert bounds.high is not None
        assert limit.low is not None
        assert limit.high is not None
        assert limit.low <= bounds.low <= float(best[0]["x"]) <= bounds.high <= limit.high
