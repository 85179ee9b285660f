"""Pruners: whether a sample is to be stopped, by what it was on its way and how others stood at the same place.

Median, percentile, successive halving and Hyperband decide as Optuna's pruners do, but compare with the newest COMPARED
complete samples only, or with the newest ON_RUNG on a rung. A plateau is where the best value has not become better for
some steps.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from zlib import crc32

from idds.domain.errors import Problem
from idds.domain.workflow import Pruner, Samples

COMPARED = 400
ON_RUNG = 1000
"""Of those that came to a rung a sample is compared with so many, the newest."""
_STEPS = 2**53


@dataclass(frozen=True, slots=True)
class _Option:
    """None for `given` where it has to be said. Whole numbers only, but for what is a `fraction`."""

    given: float | None
    low: float
    high: float
    is_fraction: bool = False


_STARTUP = {
    "startup": _Option(5, 0, COMPARED),
    "warmup": _Option(0, 0, _STEPS),
    "interval": _Option(1, 1, _STEPS),
    "least": _Option(1, 1, COMPARED),
}
_RESOURCE = {"resource": _Option(1, 1, _STEPS), "bootstrap": _Option(0, 0, ON_RUNG)}
OPTIONS: Mapping[str, Mapping[str, _Option]] = {
    "median": _STARTUP,
    "percentile": {"percentile": _Option(25, 0, 100, is_fraction=True), **_STARTUP},
    "halving": {**_RESOURCE, "factor": _Option(4, 2, 1000), "rate": _Option(0, 0, 50)},
    "hyperband": {**_RESOURCE, "factor": _Option(3, 2, 1000), "longest": _Option(None, 1, _STEPS)},
    "plateau": {
        "patience": _Option(10, 1, _STEPS),
        "tolerance": _Option(0, 0, 1e300, is_fraction=True),
        "warmup": _Option(0, 0, _STEPS),
    },
}
"""What may be said to a pruner, and between which bounds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sample is: the highest step, its best value and at which step, how many rungs it has come to.

    With a `stop_reason` it was told to stop, and stays so.
    """

    last_step: int | None = None
    best: float | None = None
    best_step: int | None = None
    rung: int = 0
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How complete samples stood at a step: so many had a value; `around` are those between which a percentile lies."""

    count: int
    around: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Percentile:
    """Stopped is what at its best is worse than a percentile of the others at the same step."""

    percentile: float
    startup: int
    warmup: int
    interval: int
    least: int
    maximize: bool

    @property
    def share(self) -> float:
        """Which part of the others is below the bar, by value."""
        return (100 - self.percentile if self.maximize else self.percentile) / 100

    def looks(self, last_step: int | None, step: int) -> bool:
        """Whether a sample that was at `last_step` before is compared at this step."""
        if step < self.warmup or (last_step is not None and step <= last_step):
            return False
        nearest = (step - self.warmup) // self.interval * self.interval + self.warmup
        return last_step is None or last_step < nearest

    def against(self, best: float, step: int, complete: int, standing: Standing | None) -> str | None:
        """Why a sample is stopped, if so, where so many others are complete."""
        if complete < max(self.startup, 1) or standing is None or standing.count < self.least:
            return None
        bar = _between(standing, self.share)
        if best >= bar if self.maximize else best <= bar:
            return None
        return f"at step {step} its best value {best:.6g} is worse than {bar:.6g}, the bar of {standing.count} samples"


def _between(standing: Standing, share: float) -> float:
    """The percentile, linear between the two values next to it."""
    low, high = standing.around[0], standing.around[-1]
    part = (standing.count - 1) * share % 1
    if math.isinf(high - low):
        return low * (1 - part) + high * part
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


@dataclass(frozen=True, slots=True)
class Halving:
    """At each rung goes on what is among the best of the newest that came to it, one of `factor`.

    Rung r of bracket b is at step resource * factor ** (rate + b + r). Each sample belongs to one bracket, by its
    number and the study's seed; `budgets` says how many of them, in proportion. Asynchronous, as in arXiv:1810.05934.
    """

    resource: int
    factor: int
    rate: int
    bootstrap: int
    budgets: tuple[int, ...]
    seed: int
    maximize: bool

    def bracket(self, number: int) -> int:
        """That of the sample with this number."""
        if len(self.budgets) == 1:
            return 0
        left = crc32(f"{self.seed}_{number}".encode()) % sum(self.budgets)
        bracket = 0
        while left >= self.budgets[bracket]:
            left -= self.budgets[bracket]
            bracket += 1
        return bracket

    def is_at(self, bracket: int, rung: int, step: int) -> bool:
        """Whether a sample at this step has come to a rung."""
        promoted_at: int = self.resource * self.factor ** (self.rate + bracket + rung)
        return step >= promoted_at

    def against(self, value: float, rung: int, others: int, better: int) -> str | None:
        """Why a sample is stopped at a rung, if so: so many others came to it, so many of them with better values."""
        count = others + 1
        if count <= self.bootstrap:
            return f"it is one of the first {self.bootstrap} at rung {rung}: they only show what is to be had there"
        if better < max(count // self.factor, 1):
            return None
        return f"at rung {rung} its value {value:.6g} is worse than those of {better} of {others} samples"


@dataclass(frozen=True, slots=True)
class Plateau:
    """Stopped is what has not become better by more than `tolerance` for `patience` steps."""

    patience: int
    tolerance: float
    warmup: int
    maximize: bool

    def against(self, progress: Progress) -> str | None:
        """Why a sample is stopped, if so."""
        if progress.last_step is None or progress.best_step is None or progress.best is None:
            return None
        if progress.last_step < self.warmup or progress.last_step - progress.best_step < self.patience:
            return None
        return f"since step {progress.best_step} it has not become better than {progress.best:.6g}"


Rule = Percentile | Halving | Plateau


def rule_of(samples: Samples) -> Rule | None:
    """The rule of a study in which nothing is wrong; None where it has no pruner."""
    if samples.pruner is None:
        return None
    options = _options(samples.pruner)
    maximize = samples.directions[0] == "maximize"
    match samples.pruner.type:
        case "median" | "percentile":
            whole = {name: int(options[name]) for name in _STARTUP}
            return Percentile(options.get("percentile", 50), **whole, maximize=maximize)
        case "halving" | "hyperband":
            names = ("resource", "factor", "bootstrap")
            resource, factor, bootstrap = (int(options[name]) for name in names)
            bootstrap = min(bootstrap, ON_RUNG)  # as earlier releases took more
            budgets = _budgets(resource, int(options["longest"]), factor) if "longest" in options else (1,)
            rate = int(options.get("rate", 0))
            return Halving(resource, factor, rate, bootstrap, budgets, samples.seed, maximize)
        case "plateau":
            return Plateau(int(options["patience"]), options["tolerance"], int(options["warmup"]), maximize)


def _options(pruner: Pruner) -> dict[str, float]:
    given = {name: option.given for name, option in OPTIONS[pruner.type].items() if option.given is not None}
    return {**given, **pruner.options}


def _budgets(resource: int, longest: int, factor: int) -> tuple[int, ...]:
    """How many samples Hyperband gives to each bracket, in proportion (JMLR 18-185, algorithm 1)."""
    brackets = math.floor(math.log(longest / resource, factor)) + 1
    return tuple(math.ceil(brackets * factor**s / (s + 1)) for s in reversed(range(brackets)))


def advanced(rule: Rule, progress: Progress, step: int, value: float) -> Progress:
    """How far a sample is with this value, a finite one."""
    tolerance = rule.tolerance if isinstance(rule, Plateau) else 0.0
    last = step if progress.last_step is None else max(progress.last_step, step)
    best = progress.best
    if best is None or (value > best + tolerance if rule.maximize else value < best - tolerance):
        return replace(progress, last_step=last, best=value, best_step=step)
    return replace(progress, last_step=last)


def problems(samples: Samples, place: str) -> Iterator[Problem]:
    """What is wrong with the pruner of a study."""
    if samples.pruner is None:
        return
    if len(samples.directions) > 1:
        yield Problem(f"{place}/pruner", "with several objectives there is no one value on the way: nothing is pruned")
    known = OPTIONS[samples.pruner.type]
    for name, value in samples.pruner.options.items():
        at = f"{place}/pruner/options/{name.replace('~', '~0').replace('/', '~1')}"
        option = known.get(name)
        if option is None:
            yield Problem(at, f"pruner {samples.pruner.type!r} has no such option; it has {', '.join(sorted(known))}")
        elif not option.low <= value <= option.high:
            yield Problem(at, f"give a number from {option.low:g} to {option.high:g}")
        elif not option.is_fraction and value % 1:
            yield Problem(at, "give a whole number")
    options = _options(samples.pruner)
    missing = [name for name in known if name not in options]
    if missing:
        yield Problem(f"{place}/pruner/options", f"pruner {samples.pruner.type!r} needs {missing[0]!r}")
    elif "longest" in options and options["longest"] < options["resource"]:
        yield Problem(f"{place}/pruner/options/longest", "the longest evaluation has fewer steps than `resource`")
