"""Redefining a space around the best of what was found: the rule of a study that goes by iterations.

The range of each number becomes the box of the best results with a margin. It shrinks by a bounded factor a step, and
grows where the best lie at its edge, within what the study was given.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from idds.domain.course import Around
from idds.domain.redefinition import Narrow, Redefinition, Widen
from idds.domain.space import Parameter, Point, Space, Value
from idds.domain.workflow import Samples
from idds.engine.redefinition import redefined

EQUAL = 1e-9
"""Of a range: less is no change."""


def limits_of(samples: Samples, made: Iterable[Redefinition]) -> Samples:
    """The study as it was submitted, and as people redefined it: what the rule did by itself bounds nothing later."""
    said = [change for each in made if each.iteration is None for change in each.changes]
    # A change that only makes sense within what the rule had left, such as to widen that, is passed over.
    return redefined(samples, said)[0]


def leading(ranked: Sequence[Point | None], total: int, share: float) -> tuple[list[Point], int]:
    """The best `share` of results, and of how many: of those that are `ranked`, None where one fits no more.

    Where there are more in `total`, as large a part of them is taken to fit.
    """
    fitting = [point for point in ranked if point is not None]
    number = round(max(total, len(ranked)) * len(fitting) / len(ranked)) if ranked else 0
    return fitting[: math.ceil(share * number)], number


def around(space: Space, limits: Space, best: Sequence[Point], rule: Around) -> list[Narrow | Widen]:
    """What makes `space` one around the best results, which are points of `limits`."""
    changes: list[Narrow | Widen] = []
    for name, parameter in space.parameters.items():
        limit = limits.parameters.get(name)
        values = [point[name] for point in best if name in point]
        if parameter.type != "categorical" and limit is not None and values:
            changes += _rebounded(name, parameter, limit, values, rule)
    return changes


def _rebounded(
    name: str, parameter: Parameter, limit: Parameter, values: Sequence[Value], rule: Around
) -> Iterator[Narrow | Widen]:
    axis = _Axis(limit)
    assert parameter.low is not None
    assert parameter.high is not None
    low, high = axis.at(parameter.low), axis.at(parameter.high)
    places = [axis.at(float(value)) for value in values]
    box = _box(min(places), max(places), high - low, rule)
    ends = dict(zip(("low", "high"), axis.values(*box), strict=True))
    moved = {
        "low": axis.at(ends["low"]) - axis.at(parameter.low),
        "high": axis.at(parameter.high) - axis.at(ends["high"]),
    }
    outside = {end: ends[end] for end, inwards in moved.items() if inwards < -2 * EQUAL}
    inside = {end: ends[end] for end, inwards in moved.items() if inwards > 2 * EQUAL}
    if outside:
        yield Widen(parameter=name, low=outside.get("low"), high=outside.get("high"))
    if inside:
        yield Narrow(parameter=name, low=inside.get("low"), high=inside.get("high"))


def _box(low: float, high: float, width: float, rule: Around) -> tuple[float, float]:
    """From the box of the best, on an axis from 0 to 1, the range that is searched next."""
    margin = rule.margin * width + EQUAL  # so that rounding leaves none of the best out
    low, high = low - margin, high + margin
    if (missing := rule.shrink * width - (high - low)) > 0:
        low, high = low - missing / 2, high + missing / 2
    # What does not fit at one side is added at the other.
    low, high = max(0.0, low - max(0.0, high - 1)), min(1.0, high + max(0.0, -low))
    return low, high


class _Axis:
    """The range of a number, from 0 to 1, even in what it is searched evenly in."""

    def __init__(self, limit: Parameter) -> None:
        assert limit.low is not None
        assert limit.high is not None
        self._low, self._high = limit.low, limit.high
        self._log = limit.log
        self._step = limit.step if limit.step is not None else 1.0 if limit.type == "int" else None

    def at(self, value: float) -> float:
        if self._high == self._low:
            return 0.0
        if self._log:
            return math.log(value / self._low) / math.log(self._high / self._low)
        return (value - self._low) / (self._high - self._low)

    def _value(self, place: float) -> float:
        if self._log:
            return self._low * math.exp(place * math.log(self._high / self._low))
        return self._low + place * (self._high - self._low)

    def values(self, low: float, high: float) -> tuple[float, float]:
        """The values there; of a number with steps the one before, and the one after, a step apart at least."""
        found = self._value(low), self._value(high)
        if self._step is not None:
            first = math.floor((found[0] - self._low) / self._step + EQUAL)
            last = math.ceil((found[1] - self._low) / self._step - EQUAL)
            most = math.floor((self._high - self._low) / self._step + EQUAL)
            first, last = max(0, first), min(most, last)
            if first == last:
                first, last = (first, last + 1) if last < most else (max(0, first - 1), last)
            found = _written(self._low + first * self._step), _written(self._low + last * self._step)
        return max(self._low, found[0]), min(found[1], self._high)


def _written(value: float) -> float:
    """As decimal fractions are written: 0.3, not 0.30000000000000004; where it is one."""
    short = float(f"{value:.12g}")
    return short if abs(short - value) <= 4e-15 * abs(value) else value
