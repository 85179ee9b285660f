"""The Pareto front: as its definition has it, found at once or in parts."""

import math
import random
from collections.abc import Sequence

import pytest

from idds.engine.front import join_front


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_none_of_the_front_is_beaten_and_all_others_are(objectives: int) -> None:
    chance = random.Random(objectives)
    points = [(n, tuple(round(chance.random(), 1) for _ in range(objectives))) for n in range(400)]
    found = join_front([], points, ["minimize"] * objectives)
    unbeaten = {values for _, values in points if not any(beats(other, values) for _, other in points)}
    assert {values for _, values in found} == unbeaten
    assert [values for _, values in found] == sorted(unbeaten)
    firsts = {values: min(n for n, each in points if each == values) for values in unbeaten}
    assert {values: n for n, values in found} == firsts


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def test_a_front_is_joined_with_more_as_if_it_had_been_found_at_once() -> None:
    points = [(n, (math.sin(n), math.cos(3 * n), math.sin(7 * n))) for n in range(300)]
    directions = ("minimize", "maximize", "minimize")
    at_once = join_front([], points, directions)
    in_parts: list[tuple[int, tuple[float, ...]]] = []
    for start in range(0, 300, 50):
        in_parts = join_front(in_parts, points[start : start + 50], directions)
    assert at_once == in_parts
    assert len(at_once) > 3
    assert join_front([], [(5, (1.0,)), (2, (1.0,)), (1, (2.0,))], ("minimize",)) == [(2, (1.0,))]
