"""Pruners, beside Optuna's on random histories; and what may be said to them."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from idds.domain.workflow import Pruner, Samples
from idds.engine.pruning import Halving, Percentile, Plateau, Progress, Standing, advanced, problems, rule_of


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def samples(kind: Any, maximize: bool = False, **options: float) -> Samples:
    direction: Any = "maximize" if maximize else "minimize"
    return Samples(count=1, directions=(direction,), seed=7, pruner=Pruner(type=kind, options=options))


class Peers:
    """What the store does for the rules, in memory."""

    def __init__(self, rule: Percentile | Halving) -> None:
        self.rule = rule
        self.complete: list[dict[int, float]] = []
        self.rungs: dict[tuple[int, int], list[float]] = defaultdict(list)

    def standing(self, rule: Percentile, step: int) -> Standing | None:
        values = sorted(each[step] for each in self.complete if step in each)
        if not values:
            return None
        before = (len(values) - 1) * rule.share
        around = [value for place, value in enumerate(values, 1) if before < place <= before + 2]
        return Standing(len(values), tuple(around))

    def stops(self, number: int, progress: Progress, step: int, value: float) -> tuple[Progress, str | None]:
        after = advanced(self.rule, progress, step, value)
        if isinstance(self.rule, Percentile):
            if not self.rule.looks(progress.last_step, step):
                return after, None
            assert after.best is not None
            return after, self.rule.against(after.best, step, len(self.complete), self.standing(self.rule, step))
        bracket, reason, rung = self.rule.bracket(number), None, after.rung
        while reason is None and self.rule.is_at(bracket, rung, step):
            others = self.rungs[bracket, rung]
            better = sum(other > value if self.rule.maximize else other < value for other in others)
            reason = self.rule.against(value, rung, len(others), better)
            others.append(value)
            rung += 1
        return Progress(after.last_step, after.best, after.best_step, rung), reason


PRUNERS: dict[str, tuple[Callable[[], optuna.pruners.BasePruner], tuple[str, dict[str, float]]]] = {
    "median": (
        lambda: optuna.pruners.MedianPruner(2, 1, 2, n_min_trials=2),
        ("median", {"startup": 2, "warmup": 1, "interval": 2, "least": 2}),
    ),
    "plain median": (lambda: optuna.pruners.MedianPruner(), ("median", {})),
    "best tenth": (lambda: optuna.pruners.PercentilePruner(10.0, 0), ("percentile", {"percentile": 10, "startup": 0})),
    "but the worst": (
        lambda: optuna.pruners.PercentilePruner(85.5, 3),
        ("percentile", {"percentile": 85.5, "startup": 3}),
    ),
    "halving": (lambda: optuna.pruners.SuccessiveHalvingPruner(1, 2), ("halving", {"resource": 1, "factor": 2})),
    "late halving": (
        lambda: optuna.pruners.SuccessiveHalvingPruner(2, 3, 1, bootstrap_count=2),
        ("halving", {"resource": 2, "factor": 3, "rate": 1, "bootstrap": 2}),
    ),
    "hyperband": (lambda: optuna.pruners.HyperbandPruner(1, 20, 3), ("hyperband", {"longest": 20})),
}
HISTORIES = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-6, 6)), min_size=1, max_size=12), min_size=3, max_size=12
)
"""Samples, each as how much further its next step is, and its value there."""


@pytest.mark.parametrize("name", PRUNERS)
@settings(max_examples=40, deadline=None)
@given(histories=HISTORIES, maximize=st.booleans(), at_once=st.integers(1, 4))
def test_each_is_stopped_where_optuna_prunes_it(
    name: str, histories: list[list[tuple[int, int]]], maximize: bool, at_once: int
) -> None:
    make, (kind, options) = PRUNERS[name]
    direction = "maximize" if maximize else "minimize"
    study = optuna.create_study(direction=direction, pruner=make(), study_name="7")
    rule = rule_of(samples(kind, maximize, **options))
    assert isinstance(rule, Percentile | Halving)
    peers = Peers(rule)
    for start in range(0, len(histories), at_once):
        running = [
            (study.ask(), iter(each), Progress(), dict[int, float]()) for each in histories[start : start + at_once]
        ]
        while running:
            trial, history, progress, values = running.pop(0)
            following = next(history, None)
            if following is None:
                study.tell(trial, 0.0)
                peers.complete.append(values)
                continue
            step, value = following[0] + (progress.last_step or 0), float(following[1])
            trial.report(value, step)
            values[step] = value
            progress, reason = peers.stops(trial.number, progress, step, value)
            assert (reason is not None) == trial.should_prune(), (trial.number, step, value, reason)
            if reason is None:
                running.append((trial, history, progress, values))
            else:
                study.tell(trial, state=TrialState.PRUNED)


def test_hyperband_gives_each_bracket_its_part() -> None:
    rule = rule_of(samples("hyperband", longest=27))
    assert isinstance(rule, Halving)
    assert rule.budgets == (27, 12, 6, 4)
    found = [rule.bracket(number) for number in range(4900)]
    assert all(abs(found.count(n) / 4900 - budget / 49) < 0.02 for n, budget in enumerate(rule.budgets))


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=40),
    st.integers(1, 8),
    st.floats(0, 3),
    st.integers(0, 10),
    st.booleans(),
)
def test_a_plateau_is_where_the_best_is_as_old_as_there_is_patience(
    values: list[float], patience: int, tolerance: float, warmup: int, maximize: bool
) -> None:
    rule = rule_of(samples("plateau", maximize, patience=patience, tolerance=tolerance, warmup=warmup))
    assert isinstance(rule, Plateau)
    progress, sign = Progress(), 1 if maximize else -1
    best, since = -math.inf, 0
    for step, value in enumerate(values):
        progress = advanced(rule, progress, step, value)
        if sign * value > best + tolerance:
            best, since = sign * value, step
        is_over = step >= warmup and step - since >= patience
        assert (rule.against(progress) is not None) == is_over


def test_what_is_said_late_or_again_is_not_compared() -> None:
    rule = rule_of(samples("median", startup=0))
    assert isinstance(rule, Percentile)
    assert not rule.looks(5, 5)
    assert not rule.looks(5, 3)
    assert rule.looks(5, 6)
    after = advanced(rule, Progress(5, 1.0, 4), 3, 0.5)
    assert (after.last_step, after.best, after.best_step) == (5, 0.5, 3)


@pytest.mark.parametrize(
    ("kind", "options", "place", "message"),
    [
        ("median", {"percentile": 3}, "/pruner/options/percentile", "has no such option; it has interval, least"),
        ("median", {"startup": 401}, "/pruner/options/startup", "give a number from 0 to 400"),
        ("median", {"warmup": 0.5}, "/pruner/options/warmup", "give a whole number"),
        ("percentile", {"percentile": 101}, "/pruner/options/percentile", "give a number from 0 to 100"),
        ("halving", {"factor": 1}, "/pruner/options/factor", "give a number from 2 to 1000"),
        ("hyperband", {}, "/pruner/options", "pruner 'hyperband' needs 'longest'"),
        ("hyperband", {"longest": 4, "resource": 5}, "/pruner/options/longest", "fewer steps than `resource`"),
        ("plateau", {"tolerance": float("nan")}, "/pruner/options/tolerance", "give a number from 0 to 1e+300"),
    ],
)
def test_odd_options_are_told_at_their_place(kind: Any, options: dict[str, float], place: str, message: str) -> None:
    (problem,) = problems(samples(kind, **options), "/samples")
    assert problem.pointer == f"/samples{place}"
    assert message in problem.message


def test_a_study_of_several_objectives_has_no_pruner() -> None:
    several = Samples(count=1, directions=("minimize", "maximize"), pruner=Pruner(type="median"))
    assert [problem.pointer for problem in problems(several, "")] == ["/pruner"]
    assert not list(problems(Samples(count=1), ""))
    assert rule_of(Samples(count=1)) is None


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("percentile", [10, 25, 50, 90])
def test_the_bar_lies_between_values_however_far_apart(maximize: bool, percentile: float) -> None:
    """Its two neighbours may be further apart than any number is large."""
    rule = rule_of(samples("percentile", maximize, percentile=percentile, startup=0))
    assert isinstance(rule, Percentile)
    worst = -1.7e308 if maximize else 1.7e308
    standing = Standing(2, (-1.7e308, 1.7e308))
    assert rule.against(-worst, 3, 2, standing) is None
    assert (rule.against(worst, 3, 2, standing) or "").startswith("at step 3 its best value")
