"""Drawing: values to places on a sheet, and what stands there. Templates make SVG of it; no script is needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from idds.domain.space import Value

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 26
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_LABEL = 14


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis; `at` is where, from 0 to 1."""

    at: float
    label: str


class Scale(Protocol):
    """One axis. `place` tells where a value stands, from 0 to 1; outside of that it lies beyond the axis."""

    @property
    def ticks(self) -> Sequence[Tick]: ...

    def place(self, value: Value) -> float: ...


def written(value: Value) -> str:
    """A value, as it stands at a chart: of numbers that are not whole four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class Linear:
    """From `low` to `high`, evenly; the other way round where low is the greater one."""

    low: float
    high: float

    @property
    def ticks(self) -> Sequence[Tick]:
        low, high = sorted((self.low, self.high))
        if not high > low:
            return [Tick(0.5, written(low))]
        rough = (high - low) / 4
        power: float = 10.0 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
        first = math.ceil(low / step - 1e-9)
        values = [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
        return [Tick(self.place(value), f"{value:.6g}") for value in values]

    def place(self, value: Value) -> float:
        return (float(value) - self.low) / (self.high - self.low) if self.high != self.low else 0.5


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """From `low` to `high`, both above 0, evenly in the logarithm."""

    low: float
    high: float

    @property
    def ticks(self) -> Sequence[Tick]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, (last - first) // 4)
        parts = (1, 2, 5) if last - first <= 2 else (1,)
        values = [part * 10.0**power for power in range(first, last + 1, every) for part in parts]
        return [Tick(self.place(each), f"{each:g}") for each in values if self.low * 0.999 <= each <= self.high * 1.001]

    def place(self, value: Value) -> float:
        if not float(value) > 0:
            return -1.0
        return math.log(float(value) / self.low) / math.log(self.high / self.low) if self.high > self.low else 0.5


@dataclass(frozen=True, slots=True)
class Choices:
    """One place for each of some values."""

    values: Sequence[Value]

    @property
    def ticks(self) -> Sequence[Tick]:
        every = max(1, -(-len(self.values) // 8))
        marked = [(n, value) for n, value in enumerate(self.values) if n % every == 0]
        return [Tick((n + 0.5) / len(self.values), shortened(str(value))) for n, value in marked]

    def place(self, value: Value) -> float:
        # True is 1 for Python, and no choice for the other.
        found = next(n for n, each in enumerate(self.values) if each == value and type(each) is type(value))
        return (found + 0.5) / len(self.values)


@dataclass(frozen=True, slots=True)
class Clock:
    """From one time to another (microseconds UTC)."""

    low: int
    high: int

    @property
    def ticks(self) -> Sequence[Tick]:
        span = (self.high - self.low) / 1e6
        step = next((each for each in _SECONDS if each * 4 >= span), 86400 * math.ceil(span / 4 / 86400))
        form = "%m-%d" if step >= 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
        first = math.ceil(self.low / 1e6 / step)
        times = [number * step for number in range(first, int(self.high / 1e6 // step) + 1)]
        return [Tick(self.place(at * 1_000_000), datetime.fromtimestamp(at, UTC).strftime(form)) for at in times]

    def place(self, value: Value) -> float:
        return (float(value) - self.low) / (self.high - self.low) if self.high > self.low else 0.5


@dataclass(frozen=True, slots=True)
class Mark:
    """A text of an axis, or a stroke across the sheet at `at` (points of the sheet)."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class Cloud:
    """Many dots of one style, `path` as SVG writes strokes of no length: a tenth of the size of so many circles."""

    path: str
    style: str


@dataclass(frozen=True, slots=True)
class Line:
    """`points` as SVG writes them."""

    points: str
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class Paper:
    """What is drawn on, `label` says what in words."""

    label: str
    width: int = field(default=WIDTH, kw_only=True)
    height: int = field(default=HEIGHT, kw_only=True)

    @property
    def left(self) -> int:
        return LEFT

    @property
    def right(self) -> int:
        return self.width - RIGHT

    @property
    def top(self) -> int:
        return TOP

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM


@dataclass(frozen=True, slots=True)
class Sheet(Paper):
    """A chart, its parts in their order from back to front."""

    along: Sequence[Mark]
    up: Sequence[Mark]
    clouds: Sequence[Cloud] = ()
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    beyond: int = 0
    """So many of its points lie beyond an axis; they stand at its end."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of parallel coordinates: upright, `at` so far from the left."""

    at: float
    name: str
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Parallel(Paper):
    """Parallel coordinates: lines from axis to axis."""

    axes: Sequence[Axis]
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Frame:
    """Two scales on a sheet."""

    along: Scale
    up: Scale
    width: int = WIDTH
    height: int = HEIGHT

    def x(self, value: Value) -> float:
        return across(self.along.place(value), self.width)

    def y(self, value: Value) -> float:
        return upward(self.up.place(value), self.height)

    @property
    def marks(self) -> tuple[list[Mark], list[Mark]]:
        along = [Mark(across(tick.at, self.width), tick.label) for tick in self.along.ticks]
        return along, [Mark(upward(tick.at, self.height), tick.label) for tick in self.up.ticks]


def across(place: float, width: int = WIDTH) -> float:
    """Where from the left a place of 0 to 1 is on a sheet; what lies beyond stands at the end."""
    return round(LEFT + (width - LEFT - RIGHT) * min(1.0, max(0.0, place)), 1)


def upward(place: float, height: int = HEIGHT) -> float:
    """The same from the top, 1 being uppermost."""
    return round(TOP + (height - TOP - BOTTOM) * (1 - min(1.0, max(0.0, place))), 1)


def line(points: Sequence[tuple[float, float]], style: str, title: str = "") -> Line:
    return Line(" ".join(f"{x:g},{y:g}" for x, y in points), style, title)


def clouds(dots: Sequence[tuple[float, float, str]]) -> list[Cloud]:
    """Dots (x, y, style) by their styles, which come in the order in which they are first met."""
    paths: dict[str, list[str]] = {}
    for x, y, style in dots:
        paths.setdefault(style, []).append(f"M{x:g} {y:g}h0")
    return [Cloud("".join(path), style) for style, path in paths.items()]


def shortened(text: str) -> str:
    """As much of a text as an axis has room for."""
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"
