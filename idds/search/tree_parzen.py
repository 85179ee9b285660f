"""TPE: Optuna's, with several points drawn out of one fit of its two densities.

Between two results the density of what was good stays as it is, and that of the rest gains one kernel with each point
that is drawn (the constant liar). So both are fitted once for all points that are drawn without news between them, and
each of these adds its kernel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma, default_gamma_multiobjective
from optuna.trial import FrozenTrial, TrialState

from idds.domain.space import Point, Space, When, is_present
from idds.search.densities import Array, Densities

MOST_OF_ONE = 32
"""So many points are drawn out of one fit at most."""
CANDIDATES = 24
"""So many points are drawn from the density of what was good, of which the best is taken: as many as Optuna draws."""
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

Distributions = dict[str, BaseDistribution]


@dataclass(frozen=True, slots=True)
class _Fit:
    good: Densities
    rest: Densities


class TreeParzenSampler(TPESampler):
    """Draws points of a space that is known from the first, for one study. Whoever keeps it says when there is news."""

    def __init__(self, space: Space, distributions: Mapping[str, BaseDistribution], startup: int) -> None:
        super().__init__(n_startup_trials=startup, multivariate=True, constant_liar=True)
        self._parzen_estimator_cls = Densities
        self._startup = startup
        self._space = space
        self._chosen = {name: each for name, each in distributions.items() if not each.single()}
        self._single = {name: _only_value(each) for name, each in distributions.items() if each.single()}
        self._branches: dict[When | None, Distributions] = {}
        for name, each in self._chosen.items():
            self._branches.setdefault(space.parameters[name].when, {})[name] = each
        self._fits: dict[When | None, _Fit] = {}
        self._drawn = 0
        self._inside: dict[int, dict[str, float]] = {}
        """What trials have been asked for, by number, as Optuna has it inside."""
        self.seeded(0)

    def seeded(self, seed: int) -> Self:
        """What it draws next depends on this, and on what is known."""
        self._source = np.random.RandomState(seed)
        self._at_random = RandomSampler(seed)  # makes a generator when it is asked, which is at the beginning
        return self

    def forget(self) -> None:
        """There may be news: what was fitted is not what is known."""
        self._fits, self._drawn = {}, 0

    def put(self, point: Point) -> None:
        """A point is being evaluated from now on."""
        self._drawn += 1
        if self._drawn >= MOST_OF_ONE:
            self.forget()
        for branch, fit in self._fits.items():
            chosen = self._branches[branch]
            if chosen.keys() <= point.keys():
                fit.rest.put({name: each.to_internal_repr(point[name]) for name, each in chosen.items()})

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        return self._chosen

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Distributions) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if len(study.get_trials(deepcopy=False, states=_FINISHED)) < self._startup:
            return found
        for branch, chosen in self._branches.items():
            parameter = self._space.parameters[next(iter(chosen))]
            if is_present(parameter, {**self._space.fixed, **self._single, **found}):
                if branch not in self._fits:
                    self._fits[branch] = self._fit(study, trial, chosen)
                found |= self._best_of(self._fits[branch], chosen)
        return found

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random: it is one of the first."""
        return self._at_random.sample_independent(study, trial, param_name, param_distribution)

    def _fit(self, study: Study, asked: FrozenTrial, chosen: Distributions) -> _Fit:
        """What is known, told apart by how good it is; what is being evaluated belongs to the rest."""
        trials = study.get_trials(deepcopy=False, states=(*_FINISHED, TrialState.RUNNING))
        finished = sum(trial.state is not TrialState.RUNNING for trial in trials)
        gamma = default_gamma if len(study.directions) == 1 else default_gamma_multiobjective
        known = [trial for trial in trials if trial.number != asked.number]
        good, rest = _split_trials(study, known, gamma(finished))
        below = self._build_parzen_estimator(study, chosen, good, handle_below=True)
        above = self._build_parzen_estimator(study, chosen, rest, handle_below=False)
        assert isinstance(below, Densities)
        assert isinstance(above, Densities)
        return _Fit(below, above)

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

    def _best_of(self, fit: _Fit, chosen: Distributions) -> dict[str, Any]:
        """Of some points that are likely among what was good the one that is the least likely among the rest."""
        candidates = fit.good.sample(self._source, CANDIDATES)
        best = int(np.argmax(fit.good.log_pdf(candidates) - fit.rest.log_pdf(candidates)))
        return {name: each.to_external_repr(candidates[name][best].item()) for name, each in chosen.items()}


def _only_value(distribution: Any) -> Any:
    return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low
