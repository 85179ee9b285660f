"""How studies and their samples are put into words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from idds.cli.output import duration, instant, plain
from idds.domain.statuses import ContentStatus

if TYPE_CHECKING:
    from idds.domain.space import Value
    from idds.domain.study import Sample, Study, StudySummary

SHORT = 60


def number(value: float) -> str:
    """Six digits of it: what more there is, JSON tells."""
    return f"{value:.6g}"


def values(found: Sequence[float] | None) -> str:
    return ", ".join(map(number, found or ()))


def point(parameters: "Mapping[str, Value]", width: int | None = None) -> str:
    """Name and value of each parameter, cut at `width`."""
    each = [f"{name}={number(v) if isinstance(v, float) else v}" for name, v in sorted(parameters.items())]
    text = plain(" ".join(each))
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def amounts(study: "StudySummary") -> str:
    """How far it is: samples that are done of those wanted, and where the others are."""
    parts = [f"{study.counts.get(ContentStatus.DONE, 0):,} of {study.wanted:,} samples done"]
    parts += [f"{n:,} {status}" for status, n in study.counts.items() if n and status is not ContentStatus.DONE]
    return ", ".join(parts)


def sentences(study: "Study") -> Iterator[tuple[str, str]]:
    """(subject, what is so): of the study, its pace, and its best."""
    reason = f": {plain(study.reason)}" if study.reason else ""
    yield "study", f"is {study.status}{reason}; {amounts(study)}"
    if study.version > 1:
        yield "definition", f"is version {study.version}"
    if study.pruned:
        yield "pruned", f"{study.pruned:,} samples were stopped on their way"
    if study.fallback_share:
        yield "fallbacks", f"{study.fallback_share:.1%} of the points were drawn at random in the sampler's place"
    if study.best:
        yield "best", best(study)


def best(study: "Study") -> str:
    first = study.best[0]
    found = f"{values(first.objective_values)} by sample {first.number}: {point(first.parameters)}"
    if len(study.directions) == 1:
        return found
    return f"a front of {study.n_best:,}, from {found}"


def pace(study: "Study") -> str:
    """How fast it goes, and how long the rest takes if it goes on like that; nothing once it has ended."""
    if study.ended_at is not None:
        return f"took {duration(study.ended_at - study.created_at)}"
    if not study.rate.ended:
        return ""
    a_minute = study.rate.per_s * 60
    # What was cancelled is replaced by others.
    came = study.ended - study.counts.get(ContentStatus.CANCELLED, 0)
    left = max(0, study.wanted - came) / study.rate.per_s
    return f"{a_minute:.3g} a minute, about {duration(int(left * 1e6))} left"


def facts(study: "Study") -> Iterator[str]:
    """The lines of `show`, but for the best."""
    yield f"study {study.id}: {plain(study.name)}/{plain(study.work)} is {study.status}, {amounts(study)}"
    if study.reason:
        yield f"because: {plain(study.reason)}"
    yield f"of request {study.request} of {plain(study.owner)}, created {instant(study.created_at)}"
    yield f"sampler {plain(study.sampler)}; {' and '.join(study.directions)}; version {study.version}"
    came = ", ".join(f"{n:,} {origin}" for origin, n in study.origins.items() if n)
    yield f"points: {came or 'none yet'}; {study.pruned:,} pruned"
    if told := pace(study):
        yield told


TITLES = ("sample", "status", "values", "origin", "version", "attempt", "parameters", "reason")


def rows(samples: "Iterable[Sample]") -> Iterator[Sequence[object]]:
    for each in samples:
        status = "pruned" if each.is_pruned else each.status
        told = (each.number, status, values(each.objective_values), each.origin, each.version, each.attempt)
        yield (*told, point(each.parameters, SHORT), each.reason)
