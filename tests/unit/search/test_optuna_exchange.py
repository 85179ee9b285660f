"""Studies of Optuna's, taken from its storages."""

from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from idds.domain.course import Result
from idds.search.optuna_exchange import read_study


def test_only_results_of_which_all_is_known_are_taken(tmp_path: Path) -> None:
    """One that does not say whether it is feasible is none of those, nor what was pruned or failed."""
    place = str(tmp_path / "study.journal")
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(place)), study_name="bound", direction="maximize"
    )
    bounds = [{"weight": 0.5, "size": -1.0}, {"size": 1.0, "weight": 0.0}, {"size": 1.0}, {}, {"size": 1, "weight": 1}]
    values = [0.0, 1.0, 2.0, 3.0, float("inf")]
    for value, constraints in zip(values, bounds, strict=True):
        study.add_trial(_trial(value, TrialState.COMPLETE, constraints))
    study.add_trial(_trial(4.0, TrialState.PRUNED, {"size": 0.0, "weight": 0.0}))
    study.add_trial(_trial(None, TrialState.FAIL, {"size": 0.0, "weight": 0.0}))

    found = read_study(place, None)
    assert found.directions == ("maximize",)
    assert found.results == [
        Result(parameters={"x": 0.0}, values=(0.0,), constraint_values=(0.5, -1.0)),
        Result(parameters={"x": 1.0}, values=(1.0,), constraint_values=(0.0, 1.0)),
    ]


def _trial(value: float | None, state: TrialState, constraints: dict[str, float]) -> optuna.trial.FrozenTrial:
    x = 1.0 if value == 1.0 else 0.0
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    return create_trial(state=state, value=value, params={"x": x}, distributions=space, constraints=constraints)
