"""The Pareto front: results than which none is better in one objective and as good in all others."""

from collections.abc import Iterable, Sequence
from itertools import chain

Result = tuple[int, tuple[float, ...]]
"""The number of a sample, and its objective values."""


def join_front(front: Iterable[Result], more: Iterable[Result], directions: Sequence[str]) -> list[Result]:
    """The front of a front and more results, in the order of its first objective, best first.

    Of equal results the one with the lowest number stands for all.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    found: dict[tuple[float, ...], Result] = {}
    for result in sorted(chain(front, more)):
        found.setdefault(tuple(s * v for s, v in zip(signs, result[1], strict=True)), result)
    kept: list[tuple[float, ...]] = []
    # Sorted like this, nothing is beaten by what comes after it.
    for costs in sorted(found):
        if not any(all(a <= b for a, b in zip(other, costs, strict=True)) for other in reversed(kept)):
            kept.append(costs)
    return [found[costs] for costs in kept]
