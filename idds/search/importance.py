"""Importance by Optuna's PED-ANOVA: `python -m idds.search.importance` reads one JSON document, and answers in one."""

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from idds.domain.space import Parameter, Value
from idds.ports.importance import Weighed


def importance(weighed: Weighed) -> dict[str, float]:
    """The importance of each parameter that has more than one value."""
    study = optuna.create_study(directions=weighed.directions)
    distributions = [_distributions(weighed, space) for space in range(len(weighed.spaces))]
    trials = []
    for space, point, values in zip(weighed.space_of, weighed.points, weighed.values, strict=True):
        named = {name: each for name, each in distributions[space].items() if name in point}
        parameters = {name: point[name] for name in named}
        trials.append(create_trial(params=parameters, distributions=named, values=values))
    study.add_trials(trials)
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), normalize=False)
    return {name: max(0.0, float(value)) for name, value in found.items()}


def _distributions(weighed: Weighed, space: int) -> dict[str, BaseDistribution]:
    points = [point for of, point in zip(weighed.space_of, weighed.points, strict=True) if of == space]
    found = {}
    for name, parameter in weighed.spaces[space].items():
        seen = [point[name] for point in points if name in point]
        if seen:
            found[name] = _distribution(parameter, seen)
    return found


def _distribution(parameter: Parameter, seen: Sequence[Value]) -> BaseDistribution:
    """Of a parameter, wide enough for what was seen of it; steps matter to no importance."""
    numbers = [each for each in seen if isinstance(each, int | float) and not isinstance(each, bool)]
    if parameter.type == "categorical" or len(numbers) < len(seen):
        unlike = {(type(each), each): each for each in (*parameter.choices, *seen)}
        return CategoricalDistribution(list(unlike.values()))
    low = min([*numbers, *([] if parameter.low is None else [parameter.low])])
    high = max([*numbers, *([] if parameter.high is None else [parameter.high])])
    log = parameter.log and low > 0
    if parameter.type == "int" and all(float(each).is_integer() for each in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _read(document: Mapping[str, Any]) -> Weighed:
    spaces = [
        {name: Parameter(**{**each, "choices": tuple(each["choices"])}) for name, each in space.items()}
        for space in document["spaces"]
    ]
    return Weighed(**{**document, "spaces": spaces})


def main() -> None:
    """What breaks ends the process, and tells of nothing but its kind."""
    os.nice(10)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    weighed = _read(json.load(sys.stdin))
    try:
        answer = {"importance": importance(weighed)}
    except Exception as error:  # noqa: BLE001 -- its text may hold values of the study
        answer = {"failure": type(error).__name__}  # type: ignore[dict-item]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
