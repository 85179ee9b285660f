"""Searches whose points are known from the first."""

from typing import Any

import pytest

from idds.domain.identifiers import CollectionId
from idds.domain.space import Parameter
from idds.domain.workflow import Samples
from idds.ports.sampler import Order, Origin
from idds.search.random_sampler import RandomSampler
from idds.search.study import StudySearch

SPACE = {"x": Parameter(type="float", low=0, high=1), "y": Parameter(type="float", low=0, high=1)}


def study(sampler: str, **more: Any) -> Samples:
    return Samples(**{"space": SPACE, "count": 1000, "sampler": sampler, **more})


def order(samples: Samples, *numbers: int) -> Order:
    return Order(CollectionId(1), samples, numbers)


@pytest.mark.parametrize("sampler", ["qmc", "grid"])
def test_each_number_has_its_point_in_whatever_order_they_are_asked_for(sampler: str) -> None:
    space = {name: Parameter(type="float", low=0, high=1, step=0.1) for name in "xy"}
    samples = study(sampler, space=space, constraints=("x + y > 0.5",), initial=({"x": 0.0, "y": 0.0},))
    search = StudySearch(order(samples))
    forward = search.ask(order(samples, *range(20)))
    backward = StudySearch(order(samples)).ask(order(samples, *reversed(range(20))))
    assert [each.number for each in forward] == list(range(20))
    assert list(reversed(backward)) == list(forward)
    assert forward[0].origin is Origin.INITIAL
    assert all(float(each.parameters["x"]) + float(each.parameters["y"]) > 0.5 for each in forward[1:])


def test_a_sequence_fills_the_space_evenly() -> None:
    samples = study("qmc")
    points = [each.parameters for each in StudySearch(order(samples)).ask(order(samples, *range(64)))]
    cells = {(int(float(p["x"]) * 8), int(float(p["y"]) * 8)) for p in points}
    assert len(cells) == 64, "one in each cell of eight by eight"
    other = StudySearch(order(study("qmc", seed=1))).ask(order(study("qmc", seed=1), 0))[0].parameters
    assert other != points[0]


def test_a_grid_says_that_it_has_no_more() -> None:
    samples = study("grid", space={"n": Parameter(type="int", low=1, high=3)})
    found = StudySearch(order(samples)).ask(order(samples, *range(5)))
    assert [each.parameters["n"] for each in found] == [1, 2, 3]


@pytest.mark.parametrize("begin", [0, 5])
def test_a_grid_of_segments_goes_on_with_those_that_have_more(begin: int) -> None:
    sizes = {"a": 2, "b": 5, "c": 1}
    segments = tuple(
        {"model_id": name, "search_space": {"n": {"method": "uniformint", "dimension": {"low": 1, "high": size}}}}
        for name, size in sizes.items()
    )
    samples = study("grid", space={}, opt_space=segments)
    asked = Order(CollectionId(1), samples, range(begin, begin + 20), first=begin)
    found = StudySearch(asked).ask(asked)
    points = [(each.parameters["model_id"], each.parameters["n"]) for each in found]
    assert sorted(points) == [(name, n + 1) for name, size in sizes.items() for n in range(size)], "each point once"
    assert [name for name, _ in points] == list("abcabbbb" if begin == 0 else "cababbbb")
    last = Order(CollectionId(1), samples, [begin + 6], first=begin)
    assert StudySearch(last).ask(last)[0].parameters == found[6].parameters, "also asked for alone"


async def test_the_random_sampler_gives_each_number_its_point() -> None:
    samples = study("random", constraints=("x < y",), initial=({"x": 0.9},))
    forward = await RandomSampler().ask(order(samples, *range(10)))
    assert list(await RandomSampler().ask(order(samples, *reversed(range(10)))))[::-1] == list(forward)
    assert forward[0].parameters["x"] == 0.9
    assert all(float(each.parameters["x"]) < float(each.parameters["y"]) for each in forward[1:])


@pytest.mark.parametrize("sampler", ["qmc", "grid"])
def test_a_version_begins_its_sequence_with_its_first_sample(sampler: str) -> None:
    space = {"x": Parameter(type="float", low=0, high=1, step=0.25)}
    samples = study(sampler, space=space)
    fresh = StudySearch(order(samples)).ask(order(samples, *range(5)))
    later = Order(CollectionId(1), samples, range(37, 42), version=2, first=37)
    again = StudySearch(later).ask(later)
    assert [each.parameters for each in again] == [each.parameters for each in fresh]
    assert [each.number for each in again] == list(range(37, 42))
