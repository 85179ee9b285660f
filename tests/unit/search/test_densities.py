"""Our densities beside those of Optuna, whose private parts they stand on: they fail here when Optuna changes them."""

import warnings
from collections.abc import Iterator
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
from idds.search.densities import Densities, _Numbers
from idds.search.optuna_search import OptunaSearch
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


@pytest.mark.parametrize("known", [1, 2, 30])
def test_a_point_that_is_put_to_them_weighs_as_one_that_was_there(known: int) -> None:
    """Its own kernel is the same; those beside it keep their widths, which makes little difference."""
    observations = observed(SPACE, known + 1, 4)
    later = {name: values[-1] for name, values in observations.items()}
    grown = Densities({name: values[:-1] for name, values in observations.items()}, SPACE, PARAMETERS)
    there = {name: np.array([value]) for name, value in later.items()}
    before = grown.log_pdf(there)
    grown.put(later)
    whole = Densities(observations, SPACE, PARAMETERS)
    assert grown.log_pdf(there) > before
    np.testing.assert_allclose(grown.log_pdf(there), whole.log_pdf(there), atol=0.5)
    for name in ("real", "log"):  # where several have the same value, it is chance which of them is wide
        one, other = grown._axes[name], whole._axes[name]
        assert isinstance(one, _Numbers)
        assert isinstance(other, _Numbers)
        assert one._sigma[-2] == pytest.approx(other._sigma[-2])
    np.testing.assert_allclose(grown._weights / grown._weights.sum(), whole._weights / whole._weights.sum(), atol=0.02)


def test_points_of_one_order_come_out_of_one_fit_until_there_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = 0
    fit = TreeParzenSampler._fit

    def counted(*arguments: Any) -> Any:
        nonlocal fits
        fits += 1
        return fit(*arguments)

    monkeypatch.setattr(TreeParzenSampler, "_fit", counted)
    space = {"x": Parameter(type="float", low=0, high=1)}
    search = OptunaSearch(Samples(space=space, count=100), Space(space))
    first = [search.ask(number) for number in range(12)]
    assert fits == 0, "the first are drawn at random"
    search.learn([Known(each, State.DONE, (float(each.parameters["x"]),)) for each in first])
    drawn = [search.ask(number) for number in range(12, 20)]
    assert fits == 1
    assert len({each.parameters["x"] for each in drawn}) == 8
    search.learn([Known(drawn[0], State.DONE, (0.0,))])
    search.ask(20)
    assert fits == 2
    search.learn([])
    for number in range(21, 21 + tree_parzen.MOST_OF_ONE + 1):
        search.ask(number)
    assert fits == 4


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
