"""Our densities beside those of Optuna, whose private parts they stand on: they fail here when Optuna changes them."""

import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters
from optuna.samplers._tpe.sampler import default_weights
from optuna.trial import TrialState
from scipy.stats import ks_2samp

from idds.domain.space import Parameter, Space, When
from idds.domain.workflow import Samples
from idds.ports.sampler import Known, State
from idds.search import tree_parzen
from idds.search.densities import Densities
from idds.search.optuna_search import OptunaSearch
from idds.search.seeds import seed
from idds.search.tree_parzen import TreeParzenSampler

PARAMETERS = _ParzenEstimatorParameters(1.0, True, False, default_weights, True)
SPACE: dict[str, BaseDistribution] = {
    "real": FloatDistribution(-3, 7),
    "log": FloatDistribution(1e-6, 1, log=True),
    "stepped": FloatDistribution(0, 2, step=0.25),
    "whole": IntDistribution(1, 12),
    "whole_log": IntDistribution(1, 600, log=True),
    "kind": CategoricalDistribution(("a", True, 7)),
}
NARROW: dict[str, BaseDistribution] = {"whole": IntDistribution(1, 3), "real": FloatDistribution(5.0, 5.000001)}
FINE: dict[str, BaseDistribution] = {"huge": IntDistribution(1, 2**40), "tiny": FloatDistribution(0, 1, step=1e-6)}


def observed(space: dict[str, BaseDistribution], number: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    source = optuna.samplers.RandomSampler(seed)
    study = optuna.create_study()
    trials = [optuna.trial.create_trial(state=TrialState.RUNNING) for _ in range(number)]
    return {
        name: np.array([each.to_internal_repr(source.sample_independent(study, trial, name, each)) for trial in trials])
        for name, each in space.items()
    }


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        # Optuna's own, of the logarithm of what is too small.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        yield
    optuna.logging.set_verbosity(before)


@pytest.mark.parametrize("space", [SPACE, NARROW, FINE], ids=["mixed", "narrow", "fine"])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(good=st.integers(0, 40), rest=st.integers(0, 120), seed=st.integers(0, 1000))
def test_of_two_points_they_prefer_the_one_that_optunas_do(
    space: dict[str, BaseDistribution], good: int, rest: int, seed: int
) -> None:
    """A factor that all kernels have in common falls out of the ratio of two densities."""
    points = observed(space, 30, seed + 2)
    found: list[np.ndarray[Any, Any]] = []
    for kind in (Densities, _ParzenEstimator):
        one, other = (kind(observed(space, n, seed + n), space, PARAMETERS) for n in (good, rest))
        found.append(one.log_pdf(points) - other.log_pdf(points))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_they_draw_what_optunas_do() -> None:
    observations = observed(SPACE, 15, 1)
    ours = Densities(observations, SPACE, PARAMETERS).sample(np.random.RandomState(1), 4000)
    theirs = _ParzenEstimator(observations, SPACE, PARAMETERS).sample(np.random.RandomState(2), 4000)
    for name in SPACE:
        assert ks_2samp(ours[name], theirs[name]).pvalue > 0.001, name
        assert SPACE[name].to_external_repr(ours[name][0]) is not None


def as_optuna_finds_it(samples: Samples, trial_number: int, study: optuna.Study) -> optuna.Trial:
    """One by one, with a new sampler each."""
    seeded = seed(samples.seed, 0, trial_number, 0)
    study.sampler = optuna.samplers.TPESampler(seed=seeded, multivariate=True, constant_liar=True)
    return study.ask(dict(sorted(SPACE.items())))


@pytest.mark.parametrize("directions", [("minimize",), ("maximize",), ("minimize", "maximize")])
def test_points_of_one_order_are_those_that_optuna_finds_one_by_one(
    directions: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights that Optuna has. Points of several objectives are Optuna's as they are."""
    if len(directions) == 1:
        monkeypatch.setattr(tree_parzen, "ranked", np.ones)
    space = {
        "kind": Parameter(type="categorical", choices=("a", True, 7)),
        "log": Parameter(type="float", low=1e-6, high=1, log=True),
        "real": Parameter(type="float", low=-3, high=7),
        "stepped": Parameter(type="float", low=0, high=2, step=0.25),
        "whole": Parameter(type="int", low=1, high=12),
        "whole_log": Parameter(type="int", low=1, high=600, log=True),
    }
    samples = Samples(space=space, count=100, directions=directions, seed=5)
    search, study = OptunaSearch(samples, Space(space)), optuna.create_study(directions=directions)
    for first in range(0, 64, 8):
        ours = [search.ask(number) for number in range(first, first + 8)]
        theirs = [as_optuna_finds_it(samples, number, study) for number in range(first, first + 8)]
        for mine, other in zip([dict(each.parameters) for each in ours], [each.params for each in theirs], strict=True):
            assert mine.pop("kind") == other.pop("kind")
            assert mine == pytest.approx(other, rel=1e-6)
        for one, other in zip(ours[:5], theirs[:5], strict=True):  # the others are still being evaluated
            values = [(one.parameters["real"] - 1) ** 2, one.parameters["log"] * one.parameters["whole"]]  # type: ignore[operator]
            search.learn([Known(one, State.DONE, tuple(values[: len(directions)]))])
            study.tell(other, values[: len(directions)])


@pytest.mark.parametrize("count", [0, 1, 2, 25])
def test_ranks_weigh_less_and_less_and_all_together_as_much_as_there_are(count: int) -> None:
    weights = tree_parzen.ranked(count)
    assert weights.sum() == pytest.approx(count)
    assert all(one > other > 0 for one, other in pairwise(weights))


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_of_what_was_good_the_best_weighs_the_most(direction: Any, sign: int) -> None:
    """What was pruned less than what came to an end, what breaks a constraint the least of all."""
    space = {"x": Parameter(type="float", low=0, high=1)}
    search = OptunaSearch(Samples(space=space, count=9, directions=(direction,), result_constraints=1), Space(space))
    asked = [search.ask(number) for number in range(6)]
    search.learn(
        [
            Known(asked[0], State.DONE, (sign * -9.0,), (2.0,)),
            Known(asked[1], State.PRUNED, intermediates={1: sign * -8.0}),
            Known(asked[2], State.DONE, (sign * 3.0,), (0.0,)),
            Known(asked[3], State.PRUNED, intermediates={2: sign * -7.0}),
            Known(asked[4], State.DONE, (sign * 1.0,), (-1.0,)),
            Known(asked[5], State.DONE, (sign * -9.0,), (1.0,)),
        ]
    )
    search.catch_up()
    weights = tree_parzen._weights(search._study, search._study.get_trials())
    assert sorted(range(6), key=lambda each: -weights[each]) == [4, 2, 3, 1, 5, 0]


def test_what_is_known_is_told_apart_once_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    times = 0
    told_apart = TreeParzenSampler._told_apart

    def counted(*arguments: Any) -> Any:
        nonlocal times
        times += 1
        return told_apart(*arguments)

    monkeypatch.setattr(TreeParzenSampler, "_told_apart", counted)
    space = {"x": Parameter(type="float", low=0, high=1)}
    search = OptunaSearch(Samples(space=space, count=100), Space(space))
    first = [search.ask(number) for number in range(12)]
    assert times == 0, "the first are drawn at random"
    search.learn([Known(each, State.DONE, (float(each.parameters["x"]),)) for each in first])
    assert len({search.ask(number).parameters["x"] for number in range(12, 20)}) == 8
    assert times == 1
    search.learn([])
    search.ask(20)
    assert times == 2


def test_only_what_belongs_to_the_branch_that_is_taken_is_drawn() -> None:
    """Also a branch of a branch, and one that hangs on a value that is always the same."""
    parameters = {
        "kind": Parameter(type="categorical", choices=("tree", "net")),
        "always": Parameter(type="int", low=3, high=3),
        "depth": Parameter(type="int", low=1, high=9, when=When(parameter="kind", values=("tree",))),
        "cut": Parameter(type="float", low=0, high=1, when=When(parameter="depth", values=(7, 8, 9))),
        "rate": Parameter(type="float", low=1e-4, high=1, log=True, when=When(parameter="kind", values=("net",))),
        "third": Parameter(type="float", low=0, high=1, when=When(parameter="always", values=(3,))),
    }
    search = OptunaSearch(Samples(space=parameters, count=100, options={"startup": 5}), Space(parameters))
    taken: set[frozenset[str]] = set()
    for number in range(60):
        asked = search.ask(number)
        taken.add(frozenset(asked.parameters))
        loss = float(asked.parameters.get("cut", 2)) + number % 3
        search.learn([Known(asked, State.DONE, (loss,))])
        if number > 5:
            trial = search._study.get_trials(deepcopy=False)[-1]
            assert trial.params == {name: asked.parameters[name] for name in trial.params}
            assert not trial.system_attrs, "nothing is noted with a point"
    root = {"kind", "always", "third"}
    assert taken == {frozenset({*root, "depth"}), frozenset({*root, "depth", "cut"}), frozenset({*root, "rate"})}
