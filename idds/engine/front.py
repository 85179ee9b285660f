"""The Pareto front: results than which none is better in one objective and as good in all others."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import inf
from operator import le

Result = tuple[int, tuple[float, ...]]
"""The number of a sample, and its objective values."""
Costs = tuple[float, ...]
"""Objective values, the lower the better."""


def join_front(front: Iterable[Result], more: Iterable[Result], directions: Sequence[str]) -> list[Result]:
    """The front of a front and more results, in the order of its first objective, best first.

    Of equal results the one with the lowest number stands for all.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    found: dict[Costs, Result] = {}
    for result in sorted(chain(front, more)):
        found.setdefault(tuple(s * v for s, v in zip(signs, result[1], strict=True)), result)
    # Sorted like this, nothing is beaten by what comes after it.
    unbeaten = _unbeaten_of_two if len(directions) <= 2 else _unbeaten
    return [found[costs] for costs in unbeaten(sorted(found))]


def _unbeaten_of_two(ordered: Iterable[Costs]) -> Iterator[Costs]:
    least = inf
    for costs in ordered:
        if costs[-1] < least:
            least = costs[-1]
            yield costs


def _unbeaten(ordered: Iterable[Costs]) -> Iterator[Costs]:
    kept: list[Costs] = []
    for costs in ordered:
        for place, other in enumerate(kept):
            if all(map(le, other, costs)):
                # Who has beaten one beats the next, mostly.
                kept[0], kept[place] = other, kept[0]
                break
        else:
            kept.append(costs)
            yield costs
