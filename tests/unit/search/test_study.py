"""A study in the samplers' process: which earlier results, and which of elsewhere, a search is told of."""

from types import SimpleNamespace
from typing import Any

import pytest

from idds.domain.identifiers import CollectionId
from idds.domain.redefinition import Add, Change, Constrain, Fix, Narrow
from idds.domain.space import Parameter, Point
from idds.domain.workflow import Samples
from idds.engine.redefinition import redefined
from idds.ports.sampler import Known, Order, State, Suggestion
from idds.search import process
from idds.search import study as module
from idds.search.optuna_search import OptunaSearch
from idds.search.study import LONGEST_S, StudySearch
from tests.unit.search.test_optuna_search import quiet as quiet

STUDY = Samples(
    space={"x": Parameter(type="float", low=-5, high=5), "n": Parameter(type="int", low=1, high=9)},
    options={"startup": 5},
    count=100,
)
LATER: list[list[Change]] = [
    [Narrow(parameter="x", low=0), Fix(parameter="n", value=5, within=2)],
    [Add(parameter="k", space=Parameter(type="int", low=0, high=3), earlier=0), Constrain(expression="x < 4.0")],
]


def known(number: int, version: int, state: State = State.DONE, **point: Any) -> Known:
    values = (point["x"] ** 2,) if state is State.DONE else ()
    return Known(Suggestion(number, point, notes={"of": "before"}), state, values, version=version)


TOLD = [
    known(0, 1, x=1.0, n=5),
    known(1, 1, x=-1.0, n=5),  # outside by now
    known(2, 1, x=1.0, n=8),  # too far from what n was fixed at
    known(3, 2, x=2.0, n=5),
    known(4, 2, x=4.5, n=5),  # a constraint came
    known(5, 3, x=3.0, n=5, k=2),
    known(6, 1, State.RUNNING, x=0.5, n=4),
]


def order(*numbers: int, **more: Any) -> Order:
    samples = STUDY
    for changes in LATER:
        samples, problems = redefined(samples, changes)
        assert problems == []
    return Order(CollectionId(1), samples, numbers, **{"version": 3, "changes": LATER, "first": 6, **more})


def told(search: StudySearch) -> list[tuple[Point, str]]:
    (of_optuna,) = search._searches
    assert isinstance(of_optuna, OptunaSearch)
    of_optuna.catch_up()
    return [(trial.params, trial.state.name) for trial in of_optuna._study.get_trials(deepcopy=False)]


@pytest.mark.usefixtures("quiet")
def test_earlier_results_are_told_where_they_are_points_of_the_present_space() -> None:
    search = StudySearch(order())
    search.ask(order(news=TOLD))
    expected = [({"x": 1.0, "k": 0}, "COMPLETE"), ({"x": 2.0, "k": 0}, "COMPLETE"), ({"x": 3.0, "k": 2}, "COMPLETE")]
    assert told(search) == [*expected, ({"x": 0.5, "k": 0}, "RUNNING")]
    # A late report of an old version is knowledge; one that fits not is none.
    search.ask(order(news=[known(6, 1, x=0.5, n=4), known(7, 1, x=-2.0, n=4)]))
    assert told(search) == [*expected, ({"x": 0.5, "k": 0}, "COMPLETE")]


@pytest.mark.usefixtures("quiet")
def test_what_is_told_again_from_the_store_gives_the_same_points() -> None:
    points = [[each.parameters for each in StudySearch(order()).ask(order(7, 8, news=TOLD))] for _ in range(2)]
    assert points[0] == points[1]
    for point in points[0]:
        assert point["n"] == 5
        assert 0 <= float(point["x"]) < 4


@pytest.mark.usefixtures("quiet")
def test_results_of_elsewhere_are_told_first() -> None:
    given = [
        Known(Suggestion(-1, {"x": 1.5, "k": 1, "batch": 3}), State.DONE, (0.1,)),
        Known(Suggestion(-2, {"x": 9.0, "k": 1}), State.DONE, (0.2,)),
        Known(Suggestion(-3, {"x": 2.5, "k": 1}), State.DONE, (0.1, 0.2)),
    ]
    search = StudySearch(order(given=given))
    assert told(search) == [({"x": 1.5, "k": 1}, "COMPLETE"), ({"x": 2.5, "k": 1}, "FAIL")]


def test_also_where_nobody_waits_there_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that takes longer than its process is given ends its study."""
    monkeypatch.setattr(module, "LONGEST_S", 0.0)
    order = Order(CollectionId(1), STUDY, range(3))
    assert {each.origin for each in StudySearch(order).ask(order)} == {"fallback"}
    assert LONGEST_S <= process.LONGEST_S / 2


def test_a_sampler_is_not_begun_with_where_its_first_point_takes_longer_than_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """How long that takes is learned from the last one, and forgotten by and by."""
    took_s, now = 0.5, 0.0

    class Slow(OptunaSearch):
        def ask(self, number: int, initial: Point | None = None, *, in_haste: bool = False) -> Suggestion:
            nonlocal now
            now += 0.0 if in_haste else took_s
            return super().ask(number, initial, in_haste=in_haste)

    monkeypatch.setattr("idds.search.optuna_search.OptunaSearch", Slow)
    monkeypatch.setattr("idds.search.study.time", SimpleNamespace(monotonic=lambda: now))
    search = StudySearch(Order(CollectionId(1), STUDY, ()))

    def drawn(first: int) -> list[str]:
        order = Order(CollectionId(1), STUDY, range(first, first + 2), within_s=0.2)
        return [each.origin for each in search.ask(order)]

    assert drawn(0) == ["sampler", "fallback"]
    took_s = 0.1
    missed = 0
    while drawn(10 * (missed + 1)) == ["fallback", "fallback"]:
        missed += 1
    assert missed == 5, "0.5 s, and a fifth less each time"
    assert drawn(1000) == ["sampler", "sampler"]


@pytest.mark.parametrize(("within_s", "origins"), [(0.0, {"fallback"}), (None, {"sampler"}), (3600.0, {"sampler"})])
def test_what_a_sampler_has_not_drawn_in_time_is_drawn_at_random(within_s: float | None, origins: set[str]) -> None:
    order = Order(CollectionId(1), STUDY, range(3), within_s=within_s)
    search = StudySearch(order)
    drawn = search.ask(order)
    assert {each.origin for each in drawn} == origins
    assert all(-5 <= each.parameters["x"] <= 5 for each in drawn)
    assert [each.parameters for each in search.ask(order)] == [each.parameters for each in drawn], (
        "asked again, the same"
    )
