"""Points lie in their space, whatever the space."""

import random
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.space import Parameter, Point, Space, When, is_present
from idds.domain.workflow import Samples
from idds.engine.spaces import against, problems, spaces_of
from idds.search.points import at, draw, grid, steps, value_at
from tests.unit.search.spaces import spaces


def space_of(parameters: dict[str, Parameter]) -> Space:
    samples = Samples(space=parameters, sampler="random", count=1)
    assert problems(samples, "") == []
    return spaces_of(samples)[0]


def assert_lies_in(point: Point, space: Space) -> None:
    for name, parameter in space.parameters.items():
        assert (name in point) is is_present(parameter, point), name
        if name in point:
            assert against(parameter, point[name]) is None, (name, point[name])


@given(parameters=spaces(), seed=st.integers(0, 1000))
def test_a_drawn_point_lies_in_its_space(parameters: dict[str, Parameter], seed: int) -> None:
    space = space_of(parameters)
    assert_lies_in(draw(space, random.Random(seed)), space)


@given(parameters=spaces(), u=st.sampled_from([0.0, 0.5, 1 - 2**-53]))
def test_so_do_the_corners(parameters: dict[str, Parameter], u: float) -> None:
    space = space_of(parameters)
    assert_lies_in(at(space, dict.fromkeys(parameters, u)), space)


@given(parameters=spaces())
def test_a_grid_has_each_point_once_and_all_of_them_lie_in_the_space(parameters: dict[str, Parameter]) -> None:
    finite = {
        name: p if p.type != "float" or p.step else Parameter(type="int", low=0, high=3, when=p.when)
        for name, p in parameters.items()
    }
    space = space_of(finite)
    points = list(islice(grid(space), 200))
    for point in points:
        assert_lies_in(point, space)
    # By kind too: True is a choice, and 1 another's value.
    assert len({tuple((n, type(v).__name__, v) for n, v in sorted(p.items())) for p in points}) == len(points)


def test_each_whole_number_is_as_likely_and_in_a_logarithm_each_decade() -> None:
    even = Parameter(type="int", low=1, high=4)
    assert Counter(value_at(even, (n + 0.5) / 400) for n in range(400)) == dict.fromkeys(range(1, 5), 100)
    wide = Parameter(type="float", low=1e-4, high=1.0, log=True)
    below = sum(float(value_at(wide, (n + 0.5) / 400)) < 1e-2 for n in range(400))
    assert below == 200


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Parameter(type="float", low=0, high=1, step=0.3), [0.0, 0.3, 0.6, 0.9]),
        (Parameter(type="float", low=0.1, high=0.3, step=0.1), [0.1, 0.2, 0.3]),
        (Parameter(type="int", low=1, high=8, step=3), [1, 4, 7]),
    ],
)
def test_steps_are_read_as_decimal_fractions(parameter: Parameter, values: list[float]) -> None:
    assert steps(parameter) == len(values)
    assert [point["x"] for point in grid(Space({"x": parameter}))] == values
    assert [value_at(parameter, (n + 0.5) / len(values)) for n in range(len(values))] == values


def test_of_a_branch_that_is_not_taken_nothing_is_there() -> None:
    space = space_of(
        {
            "tree": Parameter(type="int", low=1, high=2, when=When(parameter="kind", values=("forest",))),
            "kind": Parameter(type="categorical", choices=("forest", "line")),
            "depth": Parameter(type="categorical", choices=("x",), when=When(parameter="tree", values=(2,))),
        }
    )
    assert list(space.parameters) == ["kind", "tree", "depth"]
    assert list(grid(space)) == [
        {"kind": "forest", "tree": 1},
        {"kind": "forest", "tree": 2, "depth": "x"},
        {"kind": "line"},
    ]


def test_what_is_given_of_a_point_stands_and_the_rest_is_drawn() -> None:
    space = space_of({"x": Parameter(type="float", low=0, high=1), "y": Parameter(type="float", low=0, high=1)})
    point = draw(space, random.Random(1), {"x": 0.25})
    assert point["x"] == 0.25
    assert point["y"] == draw(space, random.Random(1))["y"]
