"""What looking at constraints may cost: a bound on draws, and on what is not drawn at all."""

from typing import Any

import pytest

from idds.domain.space import Parameter
from idds.domain.workflow import Samples
from idds.search import feasibility
from idds.search.constraints import Constraint

UNIT = Parameter(type="float", low=0, high=1)
SEGMENTS = tuple(
    {"model_id": number, "search_space": {"x": {"method": "uniform", "dimension": {"low": 0, "high": 1}}}}
    for number in range(20)
)


def test_it_costs_by_what_is_said_and_not_by_what_there_is() -> None:
    many = {f"p{number}" for number in range(1000)}
    assert (
        Constraint("p1 < 0.5", many).cost < 1000 < Constraint(" || ".join(f"p{n} < 0.5" for n in range(60)), many).cost
    )


@pytest.mark.parametrize(
    ("study", "place"),
    [
        ({"space": {"x": UNIT}, "initial": ({"x": 0.5},) * 100, "constraints": ("x < 2.0",) * 100}, "/initial"),
        ({"opt_space": SEGMENTS, "constraints": ("x < 2.0 || " * 80 + "x < 2.0",) * 100}, "/constraints"),
    ],
)
def test_what_would_take_too_long_is_refused_without_being_looked_at(
    study: dict[str, Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feasibility, "MOST_COSTS", 1_000_000)
    evaluated = []
    monkeypatch.setattr(Constraint, "truth", lambda *of: evaluated.append(of))
    (problem,) = feasibility.problems(Samples(count=1, **study), "")
    assert problem.pointer == place
    assert "too long to be looked at" in problem.message
    assert evaluated == []


def test_with_many_segments_fewer_points_of_each_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasibility, "MOST_COSTS", 1_000_000)
    evaluated = 0

    def counted(_: Constraint, __: object) -> bool:
        nonlocal evaluated
        evaluated += 1
        return True

    monkeypatch.setattr(Constraint, "truth", counted)
    assert feasibility.problems(Samples(count=1, opt_space=SEGMENTS, constraints=("x < 2.0",)), "") == []
    assert len(SEGMENTS) <= evaluated < len(SEGMENTS) * feasibility.DRAWS / 2
