"""Importance: of what a study found in all its spaces and versions."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest

from idds.domain.space import Parameter, Value
from idds.ports.importance import Weighed
from idds.search.importance import importance

X = Parameter(type="float", low=0, high=1, step=0.25)
N = Parameter(type="int", low=1, high=8, log=True)
KIND = Parameter(type="categorical", choices=("a", "b"))
N_POINTS = 200


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """As in its process: Optuna tells that its evaluator takes the least values for the best."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def weighed(
    points: Sequence[dict[str, Value]],
    values: Sequence[tuple[float, ...]],
    directions: Sequence[Literal["minimize", "maximize"]] = ("minimize",),
    spaces: Sequence[dict[str, Parameter]] = ({"x": X, "n": N, "kind": KIND},),
) -> Weighed:
    return Weighed(directions, spaces, [place % len(spaces) for place in range(len(points))], points, values)


def point(place: int, **more: Any) -> dict[str, Value]:
    return {"x": place % 5 / 4, "n": 1 + place * 7 % 8, "kind": "ab"[place // 3 % 2], "fixed": "digits", **more}


def first(found: dict[str, float]) -> str:
    return max(found, key=found.__getitem__)


def test_what_the_value_hangs_on_is_important() -> None:
    points = [point(place) for place in range(N_POINTS)]
    by_x = importance(weighed(points, [(abs(float(each["x"]) - 0.5),) for each in points]))
    assert by_x.keys() == {"x", "n", "kind"}, "what is fixed explains nothing"
    assert first(by_x) == "x"
    assert by_x["x"] > 10 * by_x["n"]
    by_n = weighed(points, [(float(each["n"]),) for each in points], ["maximize"])
    assert first(importance(by_n)) == "n"


def test_of_several_objectives_it_is_the_way_to_the_front() -> None:
    points = [point(place) for place in range(N_POINTS)]
    values = [(float(each["n"]), -float(each["n"])) if each["kind"] == "a" else (99.0, 99.0) for each in points]
    assert first(importance(weighed(points, values, ["minimize", "minimize"]))) == "kind"


def test_results_of_earlier_versions_count_wherever_they_lie() -> None:
    """What is out of the space, off its steps, of another type or not in it any more breaks nothing."""
    points = [point(place) for place in range(N_POINTS)]
    points[:4] = [point(0, x=7.1), point(1, n=0.5), point(2, kind="c"), point(3, kind=True, gone=3)]
    found = importance(weighed(points, [(abs(float(each["x"]) - 0.5),) for each in points]))
    assert found.keys() == {"x", "n", "kind"}
    assert first(found) == "x"


def test_segments_have_parameters_of_their_own() -> None:
    points = [point(place) if place % 2 else {"x": place % 11 / 10} for place in range(N_POINTS)]
    found = importance(
        weighed(
            points,
            [(abs(float(each["x"]) - 0.5),) for each in points],
            spaces=({"x": Parameter(type="float", low=0, high=1)}, {"x": X, "n": N, "kind": KIND}),
        )
    )
    assert first(found) == "x"
