"""Points of a space: drawn, or read off a unit cube."""

import math
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal

from idds.domain.space import Parameter, Point, Space, Value, is_present

EMPTY: Point = {}


def draw(space: Space, generator: random.Random, given: Point = EMPTY) -> Point:
    """A point at random, but for what is given, without regard to constraints."""
    # Each parameter takes one number, present or not, in the order of names.
    return at(space, {name: generator.random() for name in sorted(space.parameters)}, given)


def at(space: Space, units: Mapping[str, float], given: Point = EMPTY) -> Point:
    """The point at these coordinates, each in [0, 1); of branches that are not taken they are passed over."""
    point: dict[str, Value] = dict(space.fixed)
    for name, parameter in space.parameters.items():
        if is_present(parameter, point):
            point[name] = given[name] if name in given else value_at(parameter, units[name])
    return point


def value_at(parameter: Parameter, u: float) -> Value:
    """The value of a parameter at `u` in [0, 1): uniform, or uniform in the logarithm."""
    if parameter.type == "categorical":
        return parameter.choices[int(u * len(parameter.choices))]
    assert parameter.low is not None
    assert parameter.high is not None
    low, high = parameter.low, parameter.high
    if parameter.step is not None:
        return stepped(parameter, int(u * steps(parameter)))
    if parameter.type == "int":
        # Each whole number has the share of the axis around it, from low - 1/2 to high + 1/2.
        edges = (math.log(low - 0.5 if low > 0.5 else low), math.log(high + 0.5)) if parameter.log else None
        value = math.exp(edges[0] + u * (edges[1] - edges[0])) if edges else low - 0.5 + u * (high - low + 1)
        return min(max(round(value), int(low)), int(high))
    if parameter.log:
        return min(max(math.exp(math.log(low) + u * (math.log(high) - math.log(low))), low), high)
    return low + u * (high - low)


def steps(parameter: Parameter) -> int:
    """How many values a number with a step, or an int, may have."""
    low, high = Decimal(str(parameter.low)), Decimal(str(parameter.high))
    return int((high - low) // _step(parameter)) + 1


def stepped(parameter: Parameter, number: int) -> Value:
    """Of these values the one with this number, as decimal fractions are written: 0.9, not 0.8999999999999999."""
    value = Decimal(str(parameter.low)) + number * _step(parameter)
    assert parameter.high is not None
    # Its digits end somewhere: what lies above `high` by less than they tell is `high`.
    return int(value) if parameter.type == "int" else min(float(value), parameter.high)


def _step(parameter: Parameter) -> Decimal:
    return Decimal(str(parameter.step or 1))


def grid(space: Space) -> Iterator[Point]:
    """Every point of a space of which each parameter has finitely many values; lazily, in a fixed order."""
    return _grid(list(space.parameters.items()), dict(space.fixed))


def _grid(left: list[tuple[str, Parameter]], point: dict[str, Value]) -> Iterator[Point]:
    if not left:
        yield dict(point)
        return
    (name, parameter), *others = left
    if not is_present(parameter, point):
        yield from _grid(others, point)
        return
    for value in _values(parameter):
        yield from _grid(others, {**point, name: value})


def _values(parameter: Parameter) -> Iterator[Value]:
    if parameter.type == "categorical":
        yield from parameter.choices
        return
    for number in range(steps(parameter)):
        yield stepped(parameter, number)
