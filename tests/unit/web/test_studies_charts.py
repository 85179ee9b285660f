"""Charts of a study: every value at its place, whatever a study may hold."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.space import Parameter, When
from idds.domain.statuses import ContentStatus
from idds.domain.study import Origin, Sample, StepValue
from idds.domain.study_series import StudyCurve, StudyPoint, StudySeries
from idds.web.studies_charts import (
    SHADES,
    best_over_time,
    curves_on_the_way,
    fronts,
    objective_scale,
    on_the_way,
    parallel,
    scale_of,
    shaded,
    slices,
)
from idds.web.studies_drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Choices,
    Clock,
    Linear,
    Logarithmic,
    Sheet,
    written,
)

SECOND = 1_000_000
STUDY = CollectionId(1)
X = Parameter(type="float", low=0, high=1)
LR = Parameter(type="float", low=1e-4, high=1, log=True)
KIND = Parameter(type="categorical", choices=("a", "b"))
TILT = Parameter(type="float", low=0, high=1, when=When(parameter="kind", values=("b",)))
AXES = {"x": X, "lr": LR, "kind": KIND, "tilt": TILT}
finite = st.floats(allow_nan=False, allow_infinity=False)


def point(number: int, *values: float, **parameters: float | str) -> StudyPoint:
    found = {"x": 0.5, "lr": 0.01, "kind": "a", **parameters}
    return StudyPoint(ContentId(number + 1), number, 1, number * SECOND, values, found)


def sample(number: int, *values: float) -> Sample:
    return Sample(
        number=number,
        id=ContentId(number + 1),
        version=1,
        status=ContentStatus.DONE,
        origin=Origin.SAMPLER,
        parameters={},
        objective_values=values,
        constraint_values=None,
        is_pruned=False,
        attempt=1,
        lessee=None,
        lease_until=None,
        reason=None,
        changed_at=0,
    )


def places(path: str) -> list[tuple[float, float]]:
    """Where the dots of a cloud, or the ends of a line, are."""
    return [(float(x), float(y)) for x, y in re.findall(r"M?(-?[0-9.]+)[ ,](-?[0-9.]+)", path)]


def on_paper(sheet: Sheet) -> bool:
    shown = [each for cloud in sheet.clouds for each in places(cloud.path)]
    shown += [each for line in sheet.lines for each in places(line.points)]
    shown += [(dot.x, dot.y) for dot in sheet.dots]
    return all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in shown)


def test_the_best_value_is_a_staircase_over_all_results() -> None:
    series = StudySeries(STUDY, ("minimize",), (0, 10 * SECOND, 20 * SECOND), (1, 11, 21), ((4.0, 2.0, 2.0),))
    sheet = best_over_time(series, [point(0, 4.0), point(5, 3.0), point(10, 2.0)], 0)
    assert sheet is not None
    [best], [cloud] = sheet.lines, sheet.clouds
    stairs, dots = places(best.points), places(cloud.path)
    assert [x for x, _ in stairs] == sorted(x for x, _ in stairs)
    assert stairs[0] == dots[0]
    assert stairs[-1][1] == dots[2][1] > dots[1][1] > dots[0][1], "less is further down"
    assert sheet.label == "The best value over time: 2 after 21 samples"
    assert sheet.beyond == 0
    assert on_paper(sheet)


@given(st.lists(finite, min_size=1, max_size=40), st.sampled_from(["minimize", "maximize"]))
def test_whatever_the_values_are_they_are_on_the_paper(values: list[float], direction: str) -> None:
    points = [point(number, value) for number, value in enumerate(values)]
    keep = min if direction == "minimize" else max
    best = tuple(keep(values[: n + 1]) for n in range(len(values)))
    at = tuple(each.at for each in points)
    series = StudySeries(STUDY, (direction,), at, tuple(range(1, len(values) + 1)), (best,))
    drawn = best_over_time(series, points, 0)
    assert drawn is not None
    assert on_paper(drawn)
    assert all(map(on_paper, slices(points, AXES, 0, direction).values()))
    assert parallel(points, AXES, 0, direction) is not None
    scale = objective_scale(values, direction)
    assert -1e-6 <= scale.place(max(-1e300, min(1e300, best[-1]))) <= 1 + 1e-6, "the best is never beyond"
    assert all(-1e-6 <= tick.at <= 1 + 1e-6 for tick in scale.ticks)
    assert len(scale.ticks) <= 12


def test_a_few_that_are_far_worse_stand_at_the_edge() -> None:
    usual = [0.1 + number / 1000 for number in range(40)]
    assert objective_scale([*usual, 1e5], "minimize").high < 1
    assert objective_scale([-1e5, *usual], "maximize").low > 0
    assert objective_scale([-1e5, *usual], "minimize").low < -1e5, "the best is shown, however far it is"
    shown = slices([point(n, value) for n, value in enumerate([*usual, 1e5])], {"x": X}, 0, "minimize")["x"]
    assert shown.beyond == 1
    assert on_paper(shown)


def test_shades_go_by_rank_the_best_last() -> None:
    points = [point(number, float(number)) for number in range(10)]
    least = shaded(points, 0, "minimize")
    assert [each.number for each, _ in least] == list(reversed(range(10)))
    assert [style for _, style in least] == [f"shade-{n * SHADES // 10}" for n in range(10)]
    assert shaded(points, 0, "maximize")[-1][0].number == 9
    assert [style for _, style in shaded(points[:1], 0, "minimize")] == ["shade-4"], "the only one is the best"
    same = [point(number, value) for number, value in enumerate([1.0, 1.0, 2.0, 2.0, 2.0, 3.0])]
    assert [style for _, style in shaded(same, 0, "minimize")] == ["shade-0", *["shade-2"] * 3, *["shade-4"] * 2]


def test_a_sample_without_the_last_parameter_has_a_line_to_its_value() -> None:
    drawn = parallel([point(0, 1.0), point(1, 2.0, kind="b", tilt=0.5)], {"x": X, "tilt": TILT}, 0, "minimize")
    assert drawn is not None
    over = places(next(each for each in drawn.lines if each.style.endswith(" over")).points)
    assert [x for x, _ in over] == [drawn.axes[0].at, drawn.axes[-1].at]


def test_a_parameter_has_room_for_what_was_found_in_earlier_versions() -> None:
    old = [point(0, 1.0, x=3.0, lr=0.5, kind="c"), point(1, 1.0, x=True)]
    assert scale_of(X, old[:1], "x") == Linear(0, 3)
    assert scale_of(LR, old, "lr") == Logarithmic(1e-4, 1)
    assert scale_of(KIND, old, "kind") == Choices(["a", "b", "c"])
    assert scale_of(X, old, "x") == Choices([3.0, True])
    assert scale_of(LR, [point(0, 1.0, lr=-1.0)], "lr") == Linear(-1, 1)


@pytest.mark.parametrize("parameters", range(1, 11))
def test_parallel_coordinates_of_few_parameters_stand_whole_on_a_laptop(parameters: int) -> None:
    names = [f"p{number}" for number in range(parameters)]
    drawn = parallel([point(0, 1.0, **dict.fromkeys(names, 0.5))], dict.fromkeys(names, X), 0, "minimize")
    assert drawn is not None
    assert drawn.width <= 1180, "1280 less margins: else the axis of the objective is out of sight"


def test_parallel_coordinates_are_dashed_where_a_sample_has_no_such_parameter() -> None:
    between = {"x": X, "tilt": TILT, "lr": LR}
    drawn = parallel([point(0, 1.0), point(1, 2.0, kind="b", tilt=0.5)], between, 0, "minimize")
    assert drawn is not None
    assert [axis.name for axis in drawn.axes] == ["x", "tilt", "lr", "objective 1"]
    assert [axis.at for axis in drawn.axes] == sorted(axis.at for axis in drawn.axes)
    worse, *better = drawn.lines
    assert [x for x, _ in places(worse.points)] == [axis.at for axis in drawn.axes]
    first, last, over = (places(piece.points) for piece in better)
    at = {axis.name: axis.at for axis in drawn.axes}
    assert [x for x, _ in last] == [at["lr"], at["objective 1"]]
    assert over == [((first[0][0] + first[1][0]) / 2, first[0][1]), last[0]]
    assert [piece.style for piece in better] == ["shade-4", "shade-4", "shade-4 over"]
    assert {piece.title for piece in better} == {"sample 0: 1"}


def test_of_several_objectives_each_two_have_a_front() -> None:
    points = [point(0, 1.0, 5.0, 2.0), point(1, 2.0, 1.0, 1.0), point(2, 9.0, 9.0, 9.0)]
    found = fronts(points, [sample(0, 1.0, 5.0, 2.0), sample(1, 2.0, 1.0, 1.0)], ("minimize",) * 3)
    assert len(found) == 3
    for sheet in found:
        assert [dot.title for dot in sheet.dots] == ["sample 0: 1, 5, 2", "sample 1: 2, 1, 1"]
        assert len(places(sheet.clouds[0].path)) == 3
        assert on_paper(sheet)
    assert fronts(points, [], ("minimize",)) == []


def test_curves_of_what_runs_are_in_front() -> None:
    def curve(number: int, status: ContentStatus, is_pruned: bool, *values: float) -> StudyCurve:
        steps = tuple(range(len(values)))
        return StudyCurve(ContentId(number), number, status, is_pruned, len(values), steps, values)

    told = [
        curve(0, ContentStatus.LEASED, False, 0.5, 0.4),
        curve(1, ContentStatus.DONE, True, 0.9),
        curve(2, ContentStatus.DONE, False, 0.5, 0.3, 0.2),
    ]
    sheet = curves_on_the_way(told, "minimize")
    assert sheet is not None
    assert [line.style for line in sheet.lines] == ["pruned", "ended", "under-way"]
    assert [line.title for line in sheet.lines][1] == "sample 2: 0.2 at step 2"
    assert on_paper(sheet)
    [line] = (on_the_way(sample(7, 0.2), [StepValue(0, 0.5, 0), StepValue(9, 0.25, 1)], "minimize") or sheet).lines
    assert (line.title, line.style) == ("sample 7: 0.25 at step 9", "ended")
    assert on_the_way(sample(7, 0.2), [], "minimize") is None


def test_nothing_is_drawn_of_nothing() -> None:
    assert best_over_time(StudySeries(STUDY, ("minimize",), (), (), ((),)), [], 0) is None
    assert fronts([], [], ("minimize", "minimize")) == []
    assert parallel([], AXES, 0, "minimize") is None
    assert slices([], AXES, 0, "minimize") == {}


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (Linear(0, 1), ["0", "0.25", "0.5", "0.75", "1"]),
        (Linear(-3, 17), ["0", "5", "10", "15"]),
        (Linear(2, 2), ["2"]),
        (Logarithmic(1e-5, 0.1), ["1e-05", "0.0001", "0.001", "0.01", "0.1"]),
        (Logarithmic(1, 64), ["1", "2", "5", "10", "20", "50"]),
        (Choices(["adam", "a-very-long-name-indeed"]), ["adam", "a-very-long-n…"]),
        (Clock(0, 20 * SECOND), ["00:00:00", "00:00:05", "00:00:10", "00:00:15", "00:00:20"]),
        (Clock(0, 4 * 3600 * SECOND), ["00:00", "01:00", "02:00", "03:00", "04:00"]),
        (Clock(0, 4 * 86400 * SECOND), ["01-01", "01-02", "01-03", "01-04", "01-05"]),
    ],
)
def test_marks_are_round(scale: Linear | Logarithmic | Choices | Clock, labels: list[str]) -> None:
    assert [tick.label for tick in scale.ticks] == labels


def test_values_are_written_short() -> None:
    assert [written(value) for value in (3, 12345, 0.123456, 1e-7, "adam", True)] == [
        "3",
        "12,345",
        "0.1235",
        "1e-07",
        "adam",
        "True",
    ]
