"""Studies: what one is by now, after all redefinitions of it."""

from dataclasses import dataclass, replace

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId
from idds.domain.redefinition import StudyVersion
from idds.domain.statuses import SourceKind
from idds.domain.workflow import Samples
from idds.engine.redefinition import in_our_words
from idds.ports.sampler import Known, State, Suggestion
from idds.store.database import Transaction

GIVEN = 10_000
"""So many results of another study are told at most."""


@dataclass(frozen=True, slots=True)
class Definition:
    """`samples` is the study as its newest version has it; samples with numbers of `first` or above may be of that."""

    version: int
    samples: Samples
    first: int


async def definition(tx: Transaction, study: Collection) -> Definition:
    """What a study is by now."""
    return as_defined(await submitted(tx, study), await tx.studies.newest(study.id))


def as_defined(samples: Samples, newest: StudyVersion | None) -> Definition:
    """The study that was submitted, with its newest version laid over it."""
    return (
        Definition(1, samples, 0)
        if newest is None
        else Definition(newest.version, as_of(samples, newest), newest.first)
    )


def as_of(samples: Samples, version: StudyVersion) -> Samples:
    """The study that was submitted, as a version of it has it."""
    space, fixed = dict(version.space), dict(version.fixed)
    own = replace(samples, space=space, fixed=fixed, constraints=version.constraints, opt_space=None)
    return replace(own, segments=version.segments)


async def submitted(tx: Transaction, study: Collection) -> Samples:
    """A study as it stands in the workflow."""
    assert study.source is SourceKind.SAMPLES
    transform = await tx.transforms.get(study.transform_id)
    request = await tx.requests.get(study.request_id)
    assert transform is not None
    assert request is not None
    source = request.workflow.work(transform.work).input
    assert source is not None
    assert source.samples is not None
    return source.samples


async def given_with(tx: Transaction, samples: Samples) -> list[Known]:
    """The results of elsewhere that a study begins with; of another study the newest."""
    start = samples.warm_start
    if start is None:
        return []
    found = [*start.results]
    if start.study is not None:
        found += await tx.studies.results(CollectionId(start.study), GIVEN)
    return [
        Known(Suggestion(-1 - number, each.parameters), State.DONE, each.values, each.constraint_values)
        for number, each in enumerate(found)
    ]


def first_version(study: CollectionId, samples: Samples, author: str, at: int) -> StudyVersion:
    """The one that stands in the workflow, in our own words."""
    samples = in_our_words(samples)
    return StudyVersion(
        study=study,
        version=1,
        parent=0,
        space=samples.space,
        fixed=samples.fixed,
        constraints=samples.constraints,
        changes=(),
        reason="as it was submitted",
        author=author,
        first=0,
        iteration=None,
        at=at,
        segments=samples.segments,
    )
