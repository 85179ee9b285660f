"""One search through one space with a sampler of Optuna, its trials in memory.

What Optuna has seen is a copy of what the store knows: it may be thrown away, and is made anew from there. Whatever a
sampler notes with a trial of its own (generations, the optimizer of CMA-ES) goes with the sample into the store.
"""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIIISampler, NSGAIISampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from idds.domain.space import Parameter, Point, Space, Value, is_present
from idds.domain.workflow import Samples
from idds.ports.sampler import Known, Origin, State, Suggestion
from idds.search.constraints import Constraints
from idds.search.points import stepped, steps
from idds.search.random_sampler import drawn_within
from idds.search.seeds import seed
from idds.search.tree_parzen import TreeParzenSampler

TRIES = 30
"""So many points of the sampler's own are tried against the constraints; then one is drawn at random."""
FEW_TRIES = {"gp": 5}
"""Each costs so much; and it stays near where it was sent away from."""
HISTORY = {"tpe": 200, "gp": 100}
"""So many finished samples they look at where nothing is said: of TPE more cost time and find nothing better
(docs/hpo.md), and a Gaussian process costs time with the third power of their number."""
RUNNING = 100
"""So many samples that are being evaluated, the newest, are told at least: each costs an ask as much as a result."""
SLACK = 1.25
"""A history that is bounded grows by this factor before it is cut again."""

_STATES = {
    State.RUNNING: TrialState.RUNNING,
    State.DONE: TrialState.COMPLETE,
    State.FAILED: TrialState.FAIL,
    State.PRUNED: TrialState.PRUNED,
}
_TAUGHT_BY = (State.DONE, State.PRUNED)
"""Of these a sampler learns."""
_NAME = "study"


class OptunaSearch:
    """`segment` is which of a study's spaces it is: each has a search, and seeds, of its own."""

    def __init__(self, samples: Samples, space: Space, segment: int = 0) -> None:
        self._samples = samples
        self._space = space
        self._segment = segment
        self._constraints = Constraints(space)
        self._distributions = {name: _distribution(p) for name, p in space.parameters.items()}
        self._history = int(samples.options.get("history", HISTORY.get(samples.sampler, 0)))
        self._known: dict[int, Known] = {}
        self._untold: dict[int, Known] | None = {}
        """What Optuna has not heard of yet; None where it has been asked since."""
        self._numbers: dict[int, int] = {}
        """Optuna's number of what it believes to be running, by ours."""
        self._finished = 0
        self._study = self._new_study()

    def _new_study(self) -> optuna.Study:
        startup = int(self._samples.options.get("startup", 10))
        self._tree_parzen = TreeParzenSampler(self._space, self._distributions, startup)
        self._storage = InMemoryStorage()
        return optuna.create_study(storage=self._storage, study_name=_NAME, directions=self._samples.directions)

    def learn(self, news: Iterable[Known]) -> None:
        """Take in what the store says; saying it again changes nothing. Each order begins with it."""
        untold = self._untold = self._untold or {}
        for told in news:
            known = self._sound(told)
            before = self._known.get(known.suggestion.number)
            if before is None or before.state is not known.state:
                self._known[known.suggestion.number] = known
                untold[known.suggestion.number] = known

    def catch_up(self) -> None:
        """Tell Optuna what was learned since it was asked last; where that is too much, only what is to be kept.

        That takes a thousand times as long as drawing a point at random, which needs none of it.
        """
        if self._untold is None:
            return
        untold, self._untold = self._untold, None
        ended = [number for number, known in untold.items() if known.state is not State.RUNNING]
        finished = self._finished + sum(untold[number].state in _TAUGHT_BY for number in ended)
        running = len(self._numbers.keys() | untold.keys()) - len(ended)
        if self._history and (finished > self._history * SLACK or running > RUNNING * 2):
            self._cut()
        else:
            for known in untold.values():
                self._tell(known)
        self._tree_parzen.forget()

    def _sound(self, known: Known) -> Known:
        """What is done with values that nothing can be learned from failed, for a sampler."""
        wanted = (len(self._samples.directions), self._samples.result_constraints)
        is_finite = all(map(isfinite, (*known.values, *known.constraints)))
        if known.state is not State.DONE or ((len(known.values), len(known.constraints)) == wanted and is_finite):
            return known
        return Known(known.suggestion, State.FAILED)

    def _tell(self, known: Known) -> None:
        number = known.suggestion.number
        self._finished += known.state in _TAUGHT_BY
        # One that is tried again after it failed is a trial of its own.
        if number not in self._numbers:
            if known.state is State.RUNNING:
                self._numbers[number] = len(self._study.get_trials(deepcopy=False))
            self._study.add_trial(self._trial(known))
            return
        if known.state is State.RUNNING:
            return  # again, after a failure that Optuna did not hear of
        running = self._numbers.pop(number)
        if known.intermediates or known.constraints:
            self._note_on(running, self._trial(known))
        self._study.tell(running, known.values if known.state is State.DONE else None, state=_STATES[known.state])

    def _note_on(self, number: int, ended: FrozenTrial) -> None:
        """Have a running trial know what it was on its way, and how its result keeps to the constraints."""
        study = self._storage.get_study_id_from_name(_NAME)
        trial = self._storage.get_trial_id_from_study_id_trial_number(study, number)
        for step, value in ended.intermediate_values.items():
            self._storage.set_trial_intermediate_value(trial, step, value)
        for name, value in ended.system_attrs.items():
            self._storage.set_trial_system_attr(trial, name, value)

    def _trial(self, known: Known) -> FrozenTrial:
        searched = {name: v for name, v in known.suggestion.parameters.items() if name in self._distributions}
        return create_trial(
            state=_STATES[known.state],
            params=searched,
            distributions={name: self._distributions[name] for name in searched},
            values=known.values if known.state is State.DONE else None,
            system_attrs=dict(known.suggestion.notes),
            intermediate_values=dict(known.intermediates),
            constraints={str(number): value for number, value in enumerate(known.constraints)},
        )

    def _cut(self) -> None:
        """Begin anew with the best, the newest, and the newest of what is running."""
        ended = [known for known in self._known.values() if known.state in _TAUGHT_BY]
        kept = {known.suggestion.number for known in ended[-self._history :]}
        if len(self._samples.directions) == 1:
            best = sorted((known for known in ended if known.state is State.DONE), key=self._rank)[: self._history // 4]
            kept = {known.suggestion.number for known in (*ended[-(self._history - len(best)) :], *best)}
        running = [number for number, known in self._known.items() if known.state is State.RUNNING]
        kept |= set(running[-RUNNING:])
        self._study, self._numbers, self._finished = self._new_study(), {}, 0
        for known in self._known.values():
            if known.suggestion.number in kept:
                self._tell(known)

    def _rank(self, known: Known) -> tuple[float, float]:
        """By how much a result breaks its constraints, then by its value: the least is the best."""
        sign = 1 if self._samples.directions[0] == "minimize" else -1
        return sum(value for value in known.constraints if value > 0), sign * known.values[0]

    def ask(self, number: int, initial: Point | None = None, *, in_haste: bool = False) -> Suggestion:
        """The point with this number: with these values, where it is one that was given with the study."""
        if (before := self._known.get(number)) is not None:
            return before.suggestion
        if in_haste and initial is None:
            return self._fall_back(number)
        self.catch_up()
        rejected: list[Trial] = []
        for attempt in range(FEW_TRIES.get(self._samples.sampler, TRIES)):
            self._study.sampler = self._sampler(seed(self._samples.seed, self._segment, number, attempt))
            if initial is not None:
                self._study.enqueue_trial(dict(initial))
            trial = self._study.ask()
            point = self._suggest(trial)
            if initial is not None or self._constraints.let_through(point):
                self._take_back(rejected)
                origin = Origin.SAMPLER if initial is None else Origin.INITIAL
                drawn = self._study.get_trials(deepcopy=False)[trial.number]
                suggestion = Suggestion(number, point, origin, dict(drawn.system_attrs))
                self._numbers[number] = trial.number
                self._known[number] = Known(suggestion, State.RUNNING)
                self._tree_parzen.put(drawn)
                return suggestion
            rejected.append(trial)  # as one that is running it keeps the next one away
        self._take_back(rejected)
        return self._fall_back(number)

    def _take_back(self, rejected: Iterable[Trial]) -> None:
        for trial in rejected:
            self._study.tell(trial, state=TrialState.FAIL)

    def _fall_back(self, number: int) -> Suggestion:
        point = drawn_within(self._space, self._constraints, seed(self._samples.seed, self._segment), number)
        suggestion = Suggestion(number, point, Origin.FALLBACK)
        self.learn([Known(suggestion, State.RUNNING)])
        return suggestion

    def _suggest(self, trial: Trial) -> Point:
        point: dict[str, Value] = dict(self._space.fixed)
        for name, parameter in self._space.parameters.items():
            if is_present(parameter, point):
                point[name] = _suggested(trial, name, self._distributions[name])
        return point

    def _sampler(self, seeded: int) -> BaseSampler:
        """A new one for each point, or as good as one: what they know is in the trials."""
        options: Mapping[str, Any] = self._samples.options
        match self._samples.sampler:
            case "tpe":
                return self._tree_parzen.seeded(seeded)
            case "cmaes":
                sigma = options.get("sigma")
                return CmaEsSampler(
                    seed=seeded,
                    sigma0=None if sigma is None else float(sigma),
                    popsize=_whole(options.get("population")),
                    warn_independent_sampling=False,
                )
            case "nsgaii":
                return NSGAIISampler(seed=seeded, population_size=int(options.get("population", 50)))
            case "nsgaiii":
                return NSGAIIISampler(seed=seeded, population_size=int(options.get("population", 50)))
            case _:
                from optuna.samplers import GPSampler  # needs torch

                return GPSampler(
                    seed=seeded, n_startup_trials=int(options.get("startup", 10)), warn_independent_sampling=False
                )


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _suggested(trial: Trial, name: str, distribution: BaseDistribution) -> Value:
    match distribution:
        case CategoricalDistribution(choices=choices):
            found = trial.suggest_categorical(name, choices)
            assert found is not None
            return found
        case IntDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_int(name, low, high, log=log, step=step)
        case FloatDistribution(low=low, high=high, log=log, step=step):
            # At the end of a range Optuna gives NumPy's own number, which the store does not take.
            return float(trial.suggest_float(name, low, high, log=log, step=step))
    raise AssertionError(distribution)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.type == "categorical":
        return CategoricalDistribution(parameter.choices)
    assert parameter.low is not None
    assert parameter.high is not None
    # Optuna warns where a step does not go into the range: it is given the last value that is reached.
    last = parameter.high if parameter.step is None else stepped(parameter, steps(parameter) - 1)
    if parameter.type == "int":
        return IntDistribution(int(parameter.low), int(last), log=parameter.log, step=int(parameter.step or 1))
    return FloatDistribution(parameter.low, float(last), log=parameter.log, step=parameter.step)
