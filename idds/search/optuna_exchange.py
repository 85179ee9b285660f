"""Studies given to Optuna's storages, and taken from them.

A storage is named by a URL as Optuna takes it (`sqlite:///FILE`, `postgresql://...`), or by a file: a journal where its
name ends in `.journal` or `.log`, else SQLite.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError, OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from idds.domain.course import Result
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.space import Parameter, Value
from idds.domain.statuses import ContentStatus
from idds.domain.study import Sample
from idds.engine.space_union import union

TOLERANCE = 1e-8
"""Of a step, so much may be missing for a value to be on it: as Optuna has it."""
CONSTRAINTS = "constraints"
"""Where Optuna keeps the values of constraints, among the attributes of the system."""
_STATES = {
    ContentStatus.DONE: TrialState.COMPLETE,
    ContentStatus.FAILED: TrialState.FAIL,
    ContentStatus.CANCELLED: TrialState.FAIL,
    ContentStatus.MISSING: TrialState.FAIL,
}


@dataclass(frozen=True, slots=True)
class Found:
    """A study of Optuna's: what it searched, and the points of its finished trials with what came of them."""

    name: str
    directions: tuple[str, ...]
    space: Mapping[str, Parameter]
    results: Sequence[Result]


@dataclass(frozen=True, slots=True)
class Ended:
    """A sample that has ended, and the values on its way by step."""

    sample: Sample
    intermediates: Mapping[int, float] = field(default_factory=dict)


class OptunaStudy:
    """A new study in a storage. Raises Conflict where there is one of this name, InvalidInput for a bad storage."""

    def __init__(
        self, place: str, name: str, directions: Sequence[str], space: Mapping[str, Parameter], about: Mapping[str, Any]
    ) -> None:
        self._distributions = {key: _distribution(parameter) for key, parameter in space.items()}
        try:
            ways = [StudyDirection[direction.upper()] for direction in directions]
            self._study = optuna.create_study(storage=_storage(place), study_name=name, directions=ways)
        except DuplicatedStudyError:
            raise Conflict(f"this storage has a study {name!r} already: give another name") from None
        for key, value in about.items():
            self._study.set_user_attr(key, value)

    def add(self, ended: Iterable[Ended]) -> None:
        """Add trials. What of a point was fixed, and not searched, goes to the attributes of the user."""
        self._study.add_trials([self._trial(each) for each in ended])

    def _trial(self, ended: Ended) -> FrozenTrial:
        sample = ended.sample
        searched = {
            name: value
            for name, value in sample.parameters.items()
            if name in self._distributions and self._has(name, value)
        }
        state = TrialState.PRUNED if sample.is_pruned else _STATES[sample.status]
        if state is TrialState.COMPLETE and not sample.objective_values:
            state = TrialState.FAIL  # done without values: Optuna has no word for it
        attributes = {name: value for name, value in sample.parameters.items() if name not in searched}
        attributes |= {"idds:sample": sample.number, "idds:version": sample.version, "idds:origin": sample.origin.value}
        if sample.reason is not None:
            attributes["idds:reason"] = sample.reason
        return create_trial(
            state=state,
            values=list(sample.objective_values or ()) if state is TrialState.COMPLETE else None,
            params=searched,
            distributions={name: self._distributions[name] for name in searched},
            user_attrs=attributes,
            system_attrs={CONSTRAINTS: list(sample.constraint_values)} if sample.constraint_values else {},
            intermediate_values=dict(ended.intermediates),
        )

    def _has(self, name: str, value: Value) -> bool:
        match self._distributions[name]:
            case CategoricalDistribution(choices=choices):
                return value in choices
            case IntDistribution(low=low, high=high, step=step) | FloatDistribution(low=low, high=high, step=step):
                if isinstance(value, str | bool) or not low <= value <= high:
                    return False
                steps = (value - low) / step if step else 0.0
                return abs(steps - round(steps)) < TOLERANCE
        return False


def read_study(place: str, name: str | None) -> Found:
    """A study of a storage, by its name where there are several. Raises NotFound and InvalidInput."""
    storage = _storage(place)
    names = optuna.get_all_study_names(storage)
    if name is None and len(names) != 1:
        raise InvalidInput([Problem("--study", f"say which: {', '.join(map(repr, names[:20])) or 'there is none'}")])
    if name is not None and name not in names:
        raise NotFound(f"this storage has no study {name!r}; it has: {', '.join(map(repr, names[:20])) or 'none'}")
    study = optuna.load_study(study_name=name or names[0], storage=storage)
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    bounds = list(dict.fromkeys(name for trial in complete for name in trial.constraints))
    trials = [trial for trial in complete if _is_sound(trial, bounds)]
    return Found(
        study.study_name,
        tuple(direction.name.lower() for direction in study.directions),
        union({key: _parameter(each) for key, each in trial.distributions.items()} for trial in trials),
        [
            Result(
                parameters=trial.params,
                values=tuple(trial.values),
                constraint_values=tuple(trial.constraints[name] for name in bounds),
            )
            for trial in trials
        ],
    )


def _is_sound(trial: FrozenTrial, bounds: Sequence[str]) -> bool:
    """Whether it is known what came of it, and whether that is feasible."""
    constraints = trial.constraints
    return constraints.keys() == set(bounds) and all(map(math.isfinite, (*trial.values, *constraints.values())))


def _storage(place: str) -> BaseStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # whoever asks is told what was done, and by us
    if "://" not in place:
        if place.endswith((".journal", ".log")):
            return JournalStorage(JournalFileBackend(place))
        place = f"sqlite:///{place}"
    try:
        return RDBStorage(place)
    except (SQLAlchemyError, ImportError, OptunaError, OSError) as error:
        # Its text may tell a password.
        raise InvalidInput([Problem("", f"Optuna cannot open this storage ({type(error).__name__})")]) from None


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.type == "categorical":
        return CategoricalDistribution(parameter.choices)
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.type == "int":
        step = 1 if parameter.log else int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(
        parameter.low, parameter.high, log=parameter.log, step=None if parameter.log else parameter.step
    )


def _parameter(distribution: BaseDistribution) -> Parameter:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return Parameter(type="categorical", choices=tuple(_plain(choices)))
        case IntDistribution(low=low, high=high, log=log, step=step):
            return Parameter(type="int", low=low, high=high, log=log, step=step if step > 1 else None)
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return Parameter(type="float", low=low, high=high, log=log, step=step)
    raise InvalidInput([Problem("", f"a distribution of the kind {type(distribution).__name__} is not known here")])


def _plain(choices: Sequence[Any]) -> Iterator[Value]:
    for choice in choices:
        if not isinstance(choice, str | int | float | bool):
            raise InvalidInput([Problem("", f"a choice is {choice!r}: only texts, numbers, true and false are known")])
        yield choice
