"""TPE: Optuna's, with what is the same for all points of an order found once, and what was good weighed by its rank.

Between two results what was good stays what it is, and so does its density. The rest gains each point that is drawn
(the constant liar); its density is fitted anew for the next. But for the weights the points are those that Optuna finds
one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.samplers._tpe.sampler import (
    _get_infeasible_trial_score,
    _get_pruned_trial_score,
    _split_trials,
    default_gamma,
    default_gamma_multiobjective,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from idds.domain.space import Space, When, is_present
from idds.search.densities import Array, Densities

CANDIDATES = 24
"""So many points are drawn from the density of what was good, of which the best is taken: as many as Optuna draws."""
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

Distributions = dict[str, BaseDistribution]


@dataclass(frozen=True, slots=True)
class _ToldApart:
    good: list[FrozenTrial]
    rest: list[FrozenTrial]
    densities: dict[When | None, Densities] = field(default_factory=dict)
    """Of what was good, by branch."""


class TreeParzenSampler(TPESampler):
    """Draws points of a space that is known from the first, for one study. Whoever keeps it says when there is news."""

    def __init__(self, space: Space, distributions: Mapping[str, BaseDistribution], startup: int) -> None:
        super().__init__(n_startup_trials=startup, multivariate=True, constant_liar=True)
        self._startup = startup
        self._space = space
        self._chosen = {name: each for name, each in distributions.items() if not each.single()}
        self._single = {name: _only_value(each) for name, each in distributions.items() if each.single()}
        self._branches: dict[When | None, Distributions] = {}
        for name, each in self._chosen.items():
            self._branches.setdefault(space.parameters[name].when, {})[name] = each
        self._branches = {branch: dict(sorted(chosen.items())) for branch, chosen in self._branches.items()}
        self._known: _ToldApart | None = None
        self._inside: dict[int, dict[str, float]] = {}
        """What trials have been asked for, by number, as Optuna has it inside."""
        self.seeded(0)

    def seeded(self, seed: int) -> Self:
        """What it draws next depends on this, and on what is known."""
        self._source = np.random.RandomState(seed)
        self._at_random = RandomSampler(seed)  # makes a generator when it is asked, which is at the beginning
        return self

    def forget(self) -> None:
        """There may be news: what was good may be so no more."""
        self._known = None

    def put(self, drawn: FrozenTrial) -> None:
        """A point is being evaluated from now on."""
        if self._known is not None:
            self._known.rest.append(drawn)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        return self._chosen

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if len(study.get_trials(deepcopy=False, states=_FINISHED)) < self._startup:
            return found
        if self._known is None:
            self._known = self._told_apart(study, trial)
        for branch, chosen in self._branches.items():
            parameter = self._space.parameters[next(iter(chosen))]
            if is_present(parameter, {**self._space.fixed, **self._single, **found}):
                if branch not in self._known.densities:
                    good = [each for each in self._known.good if chosen.keys() <= each.params.keys()]
                    self._known.densities[branch] = self._densities(study, chosen, good, _weights(study, good))
                rest = self._densities(study, chosen, self._known.rest)
                found |= self._best_of(self._known.densities[branch], rest, chosen)
        return found

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random: it is one of the first."""
        return self._at_random.sample_independent(study, trial, param_name, param_distribution)

    def _told_apart(self, study: Study, asked: FrozenTrial) -> _ToldApart:
        """What is known, by how good it is; what is being evaluated belongs to the rest."""
        trials = study.get_trials(deepcopy=False, states=(*_FINISHED, TrialState.RUNNING))
        finished = sum(trial.state is not TrialState.RUNNING for trial in trials)
        gamma = default_gamma if len(study.directions) == 1 else default_gamma_multiobjective
        known = [trial for trial in trials if trial.number != asked.number]
        return _ToldApart(*_split_trials(study, known, gamma(finished)))

    def _densities(
        self, study: Study, chosen: Distributions, trials: list[FrozenTrial], weights: Array | None = None
    ) -> Densities:
        """Without weights the newest weigh the most, as with Optuna."""
        observations = self._get_internal_repr(trials, chosen, study)
        return Densities(observations, chosen, self._parzen_estimator_parameters, weights)

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: Distributions, study: Study
    ) -> dict[str, Array]:
        """As Optuna's, which goes through all values of all trials each time."""
        points = [self._inside.get(trial.number) or self._seen(trial) for trial in trials]
        whole = [point for point in points if search_space.keys() <= point.keys()]
        return {name: np.array([point[name] for point in whole]) for name in search_space}

    def _seen(self, trial: FrozenTrial) -> dict[str, float]:
        chosen = ((name, value) for name, value in trial.params.items() if name in self._chosen)
        return self._inside.setdefault(
            trial.number, {name: self._chosen[name].to_internal_repr(value) for name, value in chosen}
        )

    def _best_of(self, good: Densities, rest: Densities, chosen: Distributions) -> dict[str, Any]:
        """Of some points that are likely among what was good the one that is the least likely among the rest."""
        candidates = good.sample(self._source, CANDIDATES)
        best = int(np.argmax(good.log_pdf(candidates) - rest.log_pdf(candidates)))
        return {name: each.to_external_repr(candidates[name][best].item()) for name, each in chosen.items()}


def _only_value(distribution: Any) -> Any:
    return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low


def ranked(count: int) -> Array:
    """How much each of so many weighs, the best first; on average 1, as what the wide kernel weighs.

    As parents in evolution strategies (Hansen and Ostermeier, Evolutionary Computation 9, 2001). Of one like the other
    (Optuna) too many points are drawn near the middling, where many are drawn before the next result (docs/hpo.md).
    """
    weights = np.log(count + 1) - np.log(np.arange(1, count + 1))
    found: Array = weights * count / max(weights.sum(), 1e-12)
    return found


def _weights(study: Study, good: list[FrozenTrial]) -> Array:
    """Of each of these by its rank, where there is one objective; of several none is said to be the better."""
    found = np.ones(len(good))
    if len(study.directions) == 1:
        found[sorted(range(len(good)), key=lambda each: _rank(study, good[each]))] = ranked(len(good))
    return found


def _rank(study: Study, trial: FrozenTrial) -> tuple[float, bool, tuple[float, ...]]:
    """The least is the best. What breaks constraints comes last, and before it what was pruned, as Optuna has it."""
    if trial.state is TrialState.PRUNED:
        return _get_infeasible_trial_score(trial), True, _get_pruned_trial_score(trial, study)
    assert trial.value is not None
    sign = 1 if study.direction is StudyDirection.MINIMIZE else -1
    return _get_infeasible_trial_score(trial), False, (sign * trial.value,)
