"""The charts of a study: from what the API tells as JSON to sheets."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

from idds.domain.space import Parameter, Value
from idds.domain.study import Sample, StepValue
from idds.domain.study_series import StudyCurve, StudyPoint, StudySeries
from idds.web.studies_drawing import (
    LEFT,
    Axis,
    Choices,
    Clock,
    Dot,
    Frame,
    Line,
    Linear,
    Logarithmic,
    Mark,
    Parallel,
    Scale,
    Sheet,
    clouds,
    line,
    shortened,
    upward,
    written,
)

SHADES = 5
"""The best are of the last one."""
CHOICES = 30
"""Of more choices the others have no place of their own."""
PAIRS = 3
FAR = 4
LARGEST = 1e300
"""What is greater has no place of its own: the difference of two of them would be no number."""
AXIS, BROAD, HIGH = 104, 1056, 320


def best_over_time(series: StudySeries, points: Sequence[StudyPoint], objective: int) -> Sheet | None:
    """The best value until each time, and single results behind it."""
    if not series.at:
        return None
    best = series.best[objective]
    values = [point.values[objective] for point in points]
    end = max([series.at[-1], *(point.at for point in points)])
    begin = min([series.at[0], *(point.at for point in points)])
    frame = Frame(Clock(begin, end), objective_scale([*values, *best], series.directions[objective]))
    steps = [(frame.x(series.at[0]), frame.y(best[0]))]
    for (_, before), (at, after) in pairwise(zip(series.at, best, strict=True)):
        steps += [(frame.x(at), frame.y(before)), (frame.x(at), frame.y(after))]
    steps.append((frame.x(end), frame.y(best[-1])))
    dots = clouds([(frame.x(each.at), frame.y(value), "faint") for each, value in zip(points, values, strict=True)])
    words = f"The best value over time: {written(best[-1])} after {series.finished[-1]:,} samples"
    return Sheet(words, *frame.marks, dots, [line(steps, "best")], beyond=_beyond(frame.up, values))


def fronts(points: Sequence[StudyPoint], front: Sequence[Sample], directions: Sequence[str]) -> list[Sheet]:
    """For each two objectives, what was found, and the Pareto front."""
    if not points:
        return []
    sheets = []
    ends = [(sample.number, sample.objective_values) for sample in front if sample.objective_values]
    for first, second in list(combinations(range(len(directions)), 2))[:PAIRS]:
        along, up = (
            objective_scale([*(each.values[n] for each in points), *(values[n] for _, values in ends)], directions[n])
            for n in (first, second)
        )
        frame = Frame(along, up)
        faint = clouds([(frame.x(each.values[first]), frame.y(each.values[second]), "faint") for each in points])
        dots = [
            Dot(frame.x(values[first]), frame.y(values[second]), "front", _both(number, values))
            for number, values in ends
        ]
        words = f"Objective {second + 1} against objective {first + 1}, and the Pareto front of {len(ends):,} samples"
        sheets.append(Sheet(words, *frame.marks, faint, dots=dots))
    return sheets


def parallel(
    points: Sequence[StudyPoint], parameters: Mapping[str, Parameter], objective: int, direction: str
) -> Parallel | None:
    """An axis for each parameter and the last one for the objective; a line for each sample, the best in front.

    It is dashed where a sample has no such parameter.
    """
    if not points or not parameters:
        return None
    scales = {name: scale_of(parameter, points, name) for name, parameter in parameters.items()}
    last = objective_scale([point.values[objective] for point in points], direction)
    lines: list[Line] = []
    apart = max(AXIS, BROAD // len(parameters))
    for point, style in shaded(points, objective, direction):
        heights = [_height(scales[name], point, name) for name in parameters]
        heights.append(upward(last.place(point.values[objective]), HIGH))
        lines += _broken(heights, apart, style, _title(point, objective))
    named = [*scales.items(), (f"objective {objective + 1}", last)]
    axes = [
        Axis(LEFT + apart * n, shortened(name), [Mark(upward(tick.at, HIGH), tick.label) for tick in scale.ticks])
        for n, (name, scale) in enumerate(named)
    ]
    words = f"Parallel coordinates of {len(points):,} samples: {', '.join(name for name, _ in named)}"
    return Parallel(words, axes, lines, width=2 * LEFT + apart * len(parameters), height=HIGH)


def slices(
    points: Sequence[StudyPoint], parameters: Mapping[str, Parameter], objective: int, direction: str
) -> dict[str, Sheet]:
    """For each parameter, the objective against its values; the best are of the strongest shade."""
    if not points:
        return {}
    up = objective_scale([point.values[objective] for point in points], direction)
    ordered = shaded(points, objective, direction)
    found = {}
    for name, parameter in parameters.items():
        frame = Frame(scale_of(parameter, points, name), up)
        having = [(point, style) for point, style in ordered if name in point.parameters]
        dots = clouds(
            [(frame.x(each.parameters[name]), frame.y(each.values[objective]), style) for each, style in having]
        )
        beyond = _beyond(up, [point.values[objective] for point, _ in having])
        words = f"Objective {objective + 1} against {name}, {len(having):,} samples"
        found[name] = Sheet(words, *frame.marks, dots, beyond=beyond)
    return found


def curves_on_the_way(curves: Sequence[StudyCurve], direction: str) -> Sheet | None:
    """What was said of samples on the way, step by step: those that run in front, what was pruned behind."""
    if not curves:
        return None
    steps = [step for curve in curves for step in curve.steps]
    values = [value for curve in curves for value in curve.values]
    frame = Frame(Linear(min(steps), max(steps)), objective_scale(values, direction))
    order = {"pruned": 0, "ended": 1, "under-way": 2}
    drawn = []
    for curve in curves:
        style = "pruned" if curve.is_pruned else "ended" if curve.status.is_terminal else "under-way"
        points = [(frame.x(at), frame.y(value)) for at, value in zip(curve.steps, curve.values, strict=True)]
        title = f"sample {curve.number}: {written(curve.values[-1])} at step {curve.steps[-1]:,}"
        drawn.append(line(points if len(points) > 1 else points * 2, style, title))
    words = f"Values on the way of {len(drawn)} sample{'s' if len(drawn) > 1 else ''}, by step"
    drawn.sort(key=lambda each: order[each.style])
    return Sheet(words, *frame.marks, lines=drawn, beyond=_beyond(frame.up, values))


def on_the_way(sample: Sample, said: Sequence[StepValue], direction: str) -> Sheet | None:
    """The same of one sample."""
    steps, values = tuple(each.step for each in said), tuple(each.value for each in said)
    curve = StudyCurve(sample.id, sample.number, sample.status, sample.is_pruned, len(said), steps, values)
    return curves_on_the_way([curve] if said else [], direction)


def objective_scale(values: Sequence[float], direction: str) -> Linear:
    """From the best value on; a tenth that is several times as far from it as all others lies beyond."""
    ordered = sorted((max(-LARGEST, min(LARGEST, each)) for each in values), reverse=direction == "maximize")
    best, usual = ordered[0], ordered[len(ordered) * 9 // 10]
    farthest = FAR * abs(usual - best) or abs(ordered[-1] - best)
    worst = next(value for value in reversed(ordered) if abs(value - best) <= farthest)
    low, high = sorted((best, worst))
    room = 0.05 * (high - low)
    return Linear(low - room, high + room)


def scale_of(parameter: Parameter, points: Sequence[StudyPoint], name: str) -> Scale:
    """The axis of a parameter, as wide as it is now and as what was found before needs."""
    seen = [point.parameters[name] for point in points if name in point.parameters]
    numbers = [each for each in seen if isinstance(each, int | float) and not isinstance(each, bool)]
    if parameter.type == "categorical" or len(numbers) < len(seen):
        unlike = {(type(each), each): each for each in (*parameter.choices[:CHOICES], *seen)}
        return Choices(list(unlike.values()))
    bounds = [bound for bound in (parameter.low, parameter.high) if bound is not None]
    low, high = min([*numbers, *bounds], default=0.0), max([*numbers, *bounds], default=1.0)
    return Logarithmic(low, high) if parameter.log and low > 0 else Linear(low, high)


def shaded(points: Sequence[StudyPoint], objective: int, direction: str) -> list[tuple[StudyPoint, str]]:
    """Each with its shade by rank, from the worst to the best: what is drawn last is seen.

    What is equally good has the same shade, and the best the last one.
    """
    ordered = sorted(points, key=lambda point: point.values[objective], reverse=direction == "minimize")
    shades = {point.values[objective]: n * SHADES // len(ordered) for n, point in enumerate(ordered)}
    if ordered:
        shades[ordered[-1].values[objective]] = SHADES - 1
    return [(point, f"shade-{shades[point.values[objective]]}") for point in ordered]


def _height(scale: Scale, point: StudyPoint, name: str) -> float | None:
    return upward(scale.place(point.parameters[name]), HIGH) if name in point.parameters else None


def _broken(heights: Sequence[float | None], apart: int, style: str, title: str) -> list[Line]:
    """The pieces of a line, and what leads over the axes between them; a single point is a short stroke."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for n, height in enumerate(heights):
        if height is None:
            pieces.append([])
        else:
            pieces[-1].append((LEFT + apart * n, height))
    pieces = [piece for piece in pieces if piece]
    strokes = [[(x - 4, y), (x + 4, y)] if len(piece) == 1 else piece for piece in pieces for x, y in piece[:1]]
    over = [[before[-1], after[0]] for before, after in pairwise(pieces)]
    return [line(stroke, style, title) for stroke in strokes] + [line(each, f"{style} over", title) for each in over]


def _beyond(scale: Scale, values: Sequence[Value]) -> int:
    return sum(not -1e-9 <= scale.place(value) <= 1 + 1e-9 for value in values)


def _title(point: StudyPoint, objective: int) -> str:
    return f"sample {point.number}: {written(point.values[objective])}"


def _both(number: int, values: Sequence[float]) -> str:
    return f"sample {number}: {', '.join(map(written, values))}"
