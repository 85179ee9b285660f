"""When a study stops before all its samples are drawn, and what is wrong with what was said of its course."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from idds.domain.course import Stop
from idds.domain.errors import Problem
from idds.domain.workflow import Samples
from idds.engine.spaces import LEARNING

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a study stands, folded from what came of its samples. Times are microseconds.

    `results` came; `best` is the one that the others are compared with, `improved_at` how many had come with it.
    `spent` is the time of evaluations that have ended, less that since `began_at` of those that have not: `running`.
    """

    began_at: int
    results: int = 0
    best: float | None = None
    improved_at: int = 0
    is_on_target: bool = False
    spent: int = 0
    running: int = 0


def folded(standing: Standing, stop: Stop, scores: Sequence[float | None], *, minimize: bool) -> Standing:
    """Where it stands after more results, in the order they came; None is one that is no candidate."""
    sign = 1.0 if minimize else -1.0
    tolerance = stop.plateau.tolerance if stop.plateau is not None else 0.0
    for score in scores:
        standing = replace(standing, results=standing.results + 1)
        if score is None:
            continue
        if stop.target is not None and sign * score <= sign * stop.target:
            standing = replace(standing, is_on_target=True)
        if standing.best is None or sign * score < sign * standing.best - tolerance:
            standing = replace(standing, best=score, improved_at=standing.results)
    return standing


def met(stop: Stop, standing: Standing, now: int) -> str | None:
    """Why the study stops now, if it does."""
    if stop.target is not None and standing.is_on_target:
        return f"its target of {stop.target:g} was reached"
    plateau = stop.plateau
    if plateau is not None and standing.results - standing.improved_at >= plateau.samples:
        return f"none of the last {plateau.samples:,} results was better by more than {plateau.tolerance:g}"
    if stop.time_s is not None and now >= standing.began_at + round(stop.time_s * MICROSECONDS):
        return f"its time of {stop.time_s:g} s was over"
    if stop.budget_s is not None and _spent(standing, now) >= round(stop.budget_s * MICROSECONDS):
        return f"its samples were evaluated for {stop.budget_s:g} s together"
    return None


def _spent(standing: Standing, now: int) -> int:
    return standing.spent + standing.running * (now - standing.began_at)


def due_at(stop: Stop, standing: Standing, now: int) -> int | None:
    """When it may stop without anything happening."""
    ends: list[int] = []
    if stop.time_s is not None:
        ends.append(standing.began_at + round(stop.time_s * MICROSECONDS))
    if stop.budget_s is not None and standing.running:
        left = round(stop.budget_s * MICROSECONDS) - _spent(standing, now)
        ends.append(now + max(0, -(-left // standing.running)))
    return min(ends, default=None)


def problems(samples: Samples, place: str) -> Iterator[Problem]:
    """What is wrong with the course of a study, each at its place."""
    several = len(samples.directions) > 1
    if samples.stop is not None:
        if samples.stop == Stop():
            yield Problem(f"{place}/stop", "say when: time_s, target, plateau or budget_s")
        for name in ("target", "plateau"):
            if several and getattr(samples.stop, name) is not None:
                yield Problem(f"{place}/stop/{name}", "this needs a study with one objective")
    if samples.iterations is not None:
        yield from _iteration_problems(samples, f"{place}/iterations")
    if samples.warm_start is not None:
        yield from _warm_start_problems(samples, f"{place}/warm_start")


def _iteration_problems(samples: Samples, place: str) -> Iterator[Problem]:
    assert samples.iterations is not None
    if samples.refill is not None:
        yield Problem(place, "samples are drawn by iterations or by refills")
    if samples.iterations.redefine is None:
        return
    if len(samples.directions) > 1:
        yield Problem(f"{place}/redefine", "this needs a study with one objective")
    if samples.sampler == "grid":
        yield Problem(f"{place}/redefine", "a grid is gone through once")


def _warm_start_problems(samples: Samples, place: str) -> Iterator[Problem]:
    assert samples.warm_start is not None
    if samples.sampler not in LEARNING:
        yield Problem(place, f"sampler {samples.sampler!r} learns nothing of results")
    if samples.warm_start.study is None and not samples.warm_start.results:
        yield Problem(place, "give a study or results")
    wanted, bound = len(samples.directions), samples.result_constraints
    for number, result in enumerate(samples.warm_start.results):
        at = f"{place}/results/{number}"
        if len(result.values) != wanted:
            text = (
                f"this study has {wanted} objective{'s' if wanted > 1 else ''}; there are {len(result.values)} values"
            )
            yield Problem(f"{at}/values", text)
            return
        if (given := len(result.constraint_values)) != bound:
            text = f"this study has {_on_results(bound)}; there are {given} constraint values"
            yield Problem(f"{at}/constraint_values", text)
            return


def against_beginning_with(theirs: Samples, samples: Samples) -> str | None:
    """Why what came of another study cannot be told this one first, if so: what that one is like."""
    if theirs.directions != samples.directions:
        text = f"is to {' and '.join(theirs.directions)}, this one to {' and '.join(samples.directions)}"
        return f"{text}: begin with one that has the same directions"
    if theirs.result_constraints != samples.result_constraints:
        has, wants = _on_results(theirs.result_constraints), _on_results(samples.result_constraints)
        return f"has {has}, this one {wants}: begin with one that has as many"
    return None


def _on_results(count: int) -> str:
    return f"{count or 'no'} constraint{'' if count == 1 else 's'} on results"
