"""What asking ahead costs in quality: `python -m tests.bench.regret [SEEDS [TABLE ...]]`.

The least loss after 50, 100 and 200 trials with 1, 20 and 100 samples in flight, as the service draws them: a short
queue of suggestions, filled anew when it runs low, and evaluations that end in another order than they began. Beside
them Optuna's own TPE, one trial after the other, and points at random. Medians over seeds with bootstrap intervals
(percentiles of the medians of 2,000 resamples; Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

import random
import statistics
import sys
import warnings
from collections.abc import Callable

import optuna

from idds.domain.workflow import Samples
from idds.engine.transform import drawn_ahead
from idds.ports.sampler import Known, State
from idds.search.optuna_search import OptunaSearch
from idds.search.points import draw
from idds.search.seeds import generator
from tests.bench.sampling import TABLES, Table, table

TRIALS = 200
AFTER = (50, 100, 200)
IN_FLIGHT = (1, 20, 100)
RESAMPLES = 2000
Losses = list[float]


def ours(table: Table, in_flight: int, seed: int) -> Losses:
    samples = Samples(space=dict(table.space.parameters), count=TRIALS, seed=seed)
    searching = OptunaSearch(samples, table.space)
    ends = random.Random(seed)
    waiting: list[Known] = []
    flying: list[Known] = []
    losses: Losses = []
    asked = 0
    while len(losses) < TRIALS:
        while len(flying) < in_flight and asked < TRIALS + len(waiting):
            wanted = drawn_ahead(len(flying))
            if len(waiting) <= wanted // 2:
                for _ in range(min(wanted - len(waiting), TRIALS - asked)):
                    waiting.append(Known(searching.ask(asked), State.RUNNING))
                    asked += 1
            if not waiting:
                break
            flying.append(waiting.pop(0))
        # Of those that are evaluated one of the older half ends next.
        ended = flying.pop(ends.randrange(max(1, len(flying) // 2))).suggestion
        losses.append(table.loss(ended.parameters))
        searching.learn([Known(ended, State.DONE, (losses[-1],))])
    return losses


def sequential(table: Table, seed: int) -> Losses:
    """Optuna's TPE as it comes."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    losses: Losses = []
    for _ in range(TRIALS):
        trial = study.ask()
        point: dict[str, object] = {}
        for name, parameter in table.space.parameters.items():
            if parameter.type == "categorical":
                point[name] = trial.suggest_categorical(name, parameter.choices)
            elif parameter.type == "int":
                point[name] = trial.suggest_int(name, int(parameter.low or 0), int(parameter.high or 0))
            else:
                point[name] = trial.suggest_float(name, parameter.low or 0.0, parameter.high or 0.0)
        losses.append(table.loss(point))
        study.tell(trial, losses[-1])
    return losses


def at_random(table: Table, seed: int) -> Losses:
    return [table.loss(draw(table.space, generator(seed, number))) for number in range(TRIALS)]


def interval(values: list[float]) -> str:
    """The median, and where 95 % of the medians of resamples lie."""
    source = random.Random(0)
    medians = sorted(statistics.median(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)]
    return f"{statistics.median(values):.4f} ({low:.4f} to {high:.4f})"


def main(seeds: int, names: list[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    for name in names:
        found = table(name)
        ways: dict[str, Callable[[int], Losses]] = {
            "random search": lambda seed, found=found: at_random(found, seed),  # type: ignore[misc]
            "Optuna's TPE, one by one": lambda seed, found=found: sequential(found, seed),  # type: ignore[misc]
        }
        for number in IN_FLIGHT:
            ways[f"ours, {number} in flight"] = lambda seed, found=found, number=number: ours(found, number, seed)  # type: ignore[misc]
        print(f"\n**{name}**, {seeds} seeds\n")
        print("| | " + " | ".join(f"after {n}" for n in AFTER) + " |\n| --- |" + " --- |" * len(AFTER))
        for label, run in ways.items():
            runs = [run(seed) for seed in range(seeds)]
            cells = [interval([min(losses[:n]) for losses in runs]) for n in AFTER]
            print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, sys.argv[2:] or list(TABLES))
