"""Samplers of Optuna, told and asked: the same again, rebuilt the same, bounded where that is wanted."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idds.domain.space import Parameter, Point, Space
from idds.domain.workflow import Samples
from idds.engine.spaces import spaces_of
from idds.ports.sampler import Known, Origin, State, Suggestion
from idds.search.optuna_search import RUNNING, OptunaSearch
from tests.unit.search.spaces import spaces
from tests.unit.search.test_points import assert_lies_in

SPACE = {
    "x": Parameter(type="float", low=-5, high=5),
    "n": Parameter(type="int", low=1, high=9, step=2),
    "kind": Parameter(type="categorical", choices=("a", True, 7)),
}
LEARNERS = ("tpe", "cmaes", "nsgaii", "nsgaiii")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """As in the process that samplers run in."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    optuna.logging.set_verbosity(before)


def searching(samples: Samples) -> OptunaSearch:
    return OptunaSearch(samples, spaces_of(samples)[0])


def study(**more: Any) -> Samples:
    return Samples(**{"space": SPACE, "count": 100, **more})


def ended(suggestion: Suggestion, failing: int = 0) -> Known:
    """Evaluated: the loss is least at x = 0. Each `failing`th fails."""
    if failing and suggestion.number % failing == failing - 1:
        return Known(suggestion, State.FAILED)
    return Known(suggestion, State.DONE, (float(suggestion.parameters["x"]) ** 2,))


def run(search: OptunaSearch, first: int, last: int, failing: int = 0) -> list[Known]:
    """Samples from `first` until before `last`, one after the other."""
    found: list[Known] = []
    for number in range(first, last):
        found.append(ended(search.ask(number), failing))
        search.learn(found[-1:])
    return found


def points(known: list[Known]) -> list[Point]:
    return [each.suggestion.parameters for each in known]


@pytest.mark.parametrize("sampler", LEARNERS)
def test_one_seed_gives_one_search_and_another_another(sampler: str) -> None:
    assert points(run(searching(study(sampler=sampler)), 0, 25)) == points(
        run(searching(study(sampler=sampler)), 0, 25)
    )
    assert points(run(searching(study(sampler=sampler)), 0, 2)) != points(
        run(searching(study(sampler=sampler, seed=1)), 0, 2)
    )


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
@pytest.mark.parametrize("running", [0, 3])
def test_one_that_is_told_everything_anew_goes_on_as_if_nothing_had_happened(sampler: str, running: int) -> None:
    options = {} if sampler == "tpe" else {"population": 8}
    first = searching(study(sampler=sampler, options=options))
    known = run(first, 0, 30, failing=7)
    known += [Known(first.ask(number), State.RUNNING) for number in range(30, 30 + running)]
    again = searching(study(sampler=sampler, options=options))
    again.learn(known)
    assert [again.ask(n).parameters for n in range(33, 36)] == [first.ask(n).parameters for n in range(33, 36)]


def constrained(suggestion: Suggestion) -> Known:
    """Each fifth is pruned on its way; what has x above 0 is not feasible."""
    if suggestion.number % 5 == 4:
        return Known(suggestion, State.PRUNED, intermediates={suggestion.number % 3: 20.0 - suggestion.number % 7})
    x = float(suggestion.parameters["x"])
    return Known(suggestion, State.DONE, ((x - 3) ** 2,), (x, -1.0))


def run_constrained(search: OptunaSearch, last: int) -> list[Known]:
    found: list[Known] = []
    for number in range(last):
        found.append(constrained(search.ask(number)))
        search.learn(found[-1:])
    return found


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "nsgaiii"])
def test_what_was_pruned_and_what_is_not_feasible_teaches_too_also_one_that_is_told_everything_anew(
    sampler: str,
) -> None:
    options = {} if sampler == "tpe" else {"population": 8}
    first, again = (searching(study(sampler=sampler, options=options, result_constraints=2)) for _ in range(2))
    known = run_constrained(first, 40)
    again.learn(known)
    for search in (first, again):
        search.catch_up()
        trials = search._study.get_trials()
        assert [trial.state.name for trial in trials] == ["COMPLETE" if n % 5 < 4 else "PRUNED" for n in range(40)]
        assert [tuple(trial.constraints.values()) for trial in trials] == [each.constraints for each in known]
        assert [trial.intermediate_values for trial in trials] == [dict(each.intermediates) for each in known]
    if sampler == "tpe":
        assert first.ask(40).parameters == again.ask(40).parameters


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_results_that_break_a_constraint_are_kept_away_from(sampler: str) -> None:
    """The least value, at x = 3, breaks it: without it most points lie there, with it most are feasible."""
    options = {} if sampler == "tpe" else {"population": 10}
    bound, free = (searching(study(sampler=sampler, options=options, result_constraints=n)) for n in (2, 0))
    kept = [float(each.suggestion.parameters["x"]) for each in run_constrained(bound, 80)[40:]]
    loose: list[float] = []
    for number in range(80):
        suggestion = free.ask(number)
        loose.append(float(suggestion.parameters["x"]))
        free.learn([Known(suggestion, State.DONE, ((loose[-1] - 3) ** 2,))])
    assert sum(x <= 0 for x in kept) > 20 > 2 * sum(x <= 0 for x in loose[40:])


def test_a_bounded_history_keeps_what_is_feasible_and_the_newest_of_what_was_pruned() -> None:
    search = searching(study(options={"history": 20, "startup": 5}, result_constraints=2))
    known = run_constrained(search, 90)
    search.catch_up()
    trials = search._study.get_trials()
    assert len(trials) <= 20 * 1.25 + 1
    feasible = [each for each in known if each.state is State.DONE and each.constraints[0] <= 0]
    assert [*min(each.values for each in feasible)] in [trial.values for trial in trials]
    assert "PRUNED" in {trial.state.name for trial in trials}


def test_a_result_without_its_constraint_values_is_a_failure() -> None:
    search = searching(study(result_constraints=1))
    search.learn([Known(search.ask(0), State.DONE, (1.0,))])
    search.catch_up()
    assert [trial.state.name for trial in search._study.get_trials()] == ["FAIL"]


@pytest.mark.parametrize("sampler", ["nsgaii", "nsgaiii"])
def test_generations_go_on_in_one_that_is_told_everything_anew(sampler: str) -> None:
    first, again = (searching(study(sampler=sampler, options={"population": 8})) for _ in range(2))
    again.learn(run(first, 0, 30, failing=7))
    generations = [dict(each.ask(30).notes) for each in (first, again)]
    assert generations[0] == generations[1]
    assert 3 in generations[0].values()


def test_saying_it_again_and_asking_again_changes_nothing() -> None:
    search, other = searching(study()), searching(study())
    known, _ = run(search, 0, 15), run(other, 0, 15)
    search.learn(known)
    asked = search.ask(15)
    assert search.ask(15) == asked == other.ask(15)


def test_one_that_failed_and_is_tried_again_counts_when_it_is_done() -> None:
    search = searching(study())
    suggestion = search.ask(0)
    for known in (Known(suggestion, State.FAILED), Known(suggestion, State.RUNNING), ended(suggestion)):
        search.learn([known])
        search.catch_up()
    states = [trial.state.name for trial in search._study.get_trials()]
    assert states == ["FAIL", "COMPLETE"]


def test_what_comes_and_goes_while_nothing_is_asked_counts_as_what_it_came_to() -> None:
    """In haste points are drawn at random, and Optuna hears of them when it is asked again: once each."""
    search = searching(study())
    hasty = [search.ask(number, in_haste=True) for number in range(4)]
    assert {each.origin for each in hasty} == {Origin.FALLBACK}
    search.learn([ended(hasty[0]), Known(hasty[1], State.FAILED), Known(hasty[2], State.FAILED)])
    search.learn([Known(hasty[2], State.RUNNING)])
    assert search._study.get_trials() == []
    search.ask(4)
    states = [trial.state.name for trial in search._study.get_trials()]
    assert states == ["COMPLETE", "FAIL", "RUNNING", "RUNNING", "RUNNING"]
    search.learn([Known(hasty[2], State.FAILED)])
    search.learn([Known(hasty[2], State.RUNNING)])
    search.ask(5)
    assert [trial.state.name for trial in search._study.get_trials()] == [*states, "RUNNING"]


@pytest.mark.parametrize("values", [(), (1.0, 2.0), (float("nan"),), (float("inf"),)])
def test_values_that_nothing_can_be_learned_from_are_a_failure(values: tuple[float, ...]) -> None:
    search = searching(study())
    search.learn([Known(search.ask(0), State.DONE, values)])
    search.catch_up()
    assert [trial.state.name for trial in search._study.get_trials()] == ["FAIL"]
    assert search.ask(1).number == 1


def test_what_is_running_keeps_others_away() -> None:
    """Told of nothing but what is done, all that are asked at once would be the same."""
    search = searching(study())
    run(search, 0, 40)
    asked = [search.ask(number).parameters["x"] for number in range(40, 50)]
    assert len(set(asked)) == 10


def test_a_history_that_is_bounded_keeps_the_best_the_newest_and_what_is_running() -> None:
    search = searching(study(options={"history": 20, "startup": 5}))
    flying = [Known(search.ask(number), State.RUNNING) for number in range(3)]
    known = run(search, 3, 60)
    search.catch_up()
    trials = search._study.get_trials()
    assert sum(trial.state.name == "RUNNING" for trial in trials) == len(flying)
    assert len(trials) <= 20 * 1.25 + len(flying) + 1
    best = min(each.values for each in known)
    assert [*best] in [trial.values for trial in trials]
    search.learn([ended(each.suggestion) for each in flying])
    assert search.ask(60).origin is Origin.SAMPLER


def test_several_objectives_are_searched_together() -> None:
    samples = study(directions=("minimize", "maximize"))
    search = searching(samples)
    for number in range(30):
        suggestion = search.ask(number)
        x = float(suggestion.parameters["x"])
        search.learn([Known(suggestion, State.DONE, (x * x, x))])
    assert len(search._study.best_trials) > 1


def test_where_the_sampler_finds_nothing_that_is_let_through_chance_does_and_says_so() -> None:
    samples = study(constraints=("x > 4.99 && n == 9",), sampler="cmaes")
    found = [searching(samples).ask(number) for number in range(5)]
    assert Origin.FALLBACK in {each.origin for each in found}
    assert all(float(each.parameters["x"]) > 4.99 for each in found)
    with pytest.raises(LookupError, match="none of 10,000 points fulfils the constraints"):
        searching(study(constraints=("x > 5.0",))).ask(0)


@settings(max_examples=15)
@given(parameters=spaces(), sampler=st.sampled_from(LEARNERS))
def test_what_is_suggested_lies_in_the_space(parameters: dict[str, Parameter], sampler: str) -> None:
    samples = Samples(space=parameters, sampler=sampler, count=1, options={"startup": 2} if sampler == "tpe" else {})
    space: Space = spaces_of(samples)[0]
    search = OptunaSearch(samples, space)
    for number in range(6):
        suggestion = search.ask(number)
        assert_lies_in(suggestion.parameters, space)
        search.learn([Known(suggestion, State.DONE, (float(number),))])


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii"])
def test_numbers_are_plain_also_where_a_range_has_hardly_any_left(sampler: str) -> None:
    space = {"x": Parameter(type="float", low=1.0, high=math.nextafter(1.0, 2.0))}
    search = searching(Samples(space=space, count=20, sampler=sampler))
    assert {type(each.suggestion.parameters["x"]) for each in run(search, 0, 20)} == {float}


def test_of_very_many_that_are_being_evaluated_the_newest_are_told() -> None:
    study = Samples(space={"x": Parameter(type="float", low=0, high=1)}, count=1000)
    search = OptunaSearch(study, spaces_of(study)[0])
    asked = [Known(search.ask(number), State.RUNNING) for number in range(5 * RUNNING)]
    search.learn([])
    search.catch_up()
    assert RUNNING <= len(search._numbers) <= 2 * RUNNING
    assert min(search._numbers) >= len(asked) - 2 * RUNNING
    first = asked[0].suggestion
    search.learn([Known(first, State.DONE, (0.5,))])
    assert search.ask(first.number).parameters == first.parameters, "a result counts all the same"
