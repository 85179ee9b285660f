"""Studies: the versions of their spaces, and where one stands that goes by iterations or stops by what was found."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, insert, select

from idds.domain.identifiers import CollectionId
from idds.domain.redefinition import (
    Add,
    Change,
    Choose,
    Constrain,
    Drop,
    Fix,
    Narrow,
    StudyVersion,
    Unconstrain,
    Widen,
)
from idds.store.documents import read_parameter
from idds.store.noun import Noun
from idds.store.schema import study_versions

_KINDS: Mapping[str, type[Change]] = {
    "narrow": Narrow,
    "widen": Widen,
    "choices": Choose,
    "drop": Drop,
    "fix": Fix,
    "add": Add,
    "constrain": Constrain,
    "unconstrain": Unconstrain,
}


class Studies(Noun):
    async def newest(self, study: CollectionId) -> StudyVersion | None:
        """The version of a study that holds, where it was redefined."""
        query = select(study_versions).where(study_versions.c.study_id == study)
        row = (await self._execute(query.order_by(study_versions.c.version.desc()).limit(1))).first()
        return None if row is None else _version(row)

    async def versions(self, study: CollectionId, *, after: int = 0, limit: int | None = None) -> list[StudyVersion]:
        """The versions that a study was redefined to, in order; those above `after`."""
        query = select(study_versions).where(study_versions.c.study_id == study, study_versions.c.version > after)
        return [_version(row) for row in await self._execute(query.order_by(study_versions.c.version).limit(limit))]

    async def add(self, version: StudyVersion) -> None:
        """Record a version. The caller holds the lock of its request, and has looked which one holds."""
        space = {name: asdict(parameter) for name, parameter in version.space.items()}
        values = {
            "study_id": version.study,
            "version": version.version,
            "parent": version.parent,
            "document": {"space": space, "fixed": dict(version.fixed), "constraints": list(version.constraints)},
            "changes": [asdict(change) for change in version.changes],
            "reason": version.reason,
            "author": version.author,
            "first": version.first,
            "iteration": version.iteration,
            "at": version.at,
        }
        await self._execute(insert(study_versions).values(values))


def _version(row: Row[Any]) -> StudyVersion:
    document = row.document
    return StudyVersion(
        study=CollectionId(row.study_id),
        version=row.version,
        parent=row.parent,
        space={name: read_parameter(each) for name, each in document["space"].items()},
        fixed=document["fixed"],
        constraints=tuple(document["constraints"]),
        changes=tuple(map(_change, row.changes)),
        reason=row.reason,
        author=row.author,
        first=row.first,
        iteration=row.iteration,
        at=row.at,
    )


def _change(document: Mapping[str, Any]) -> Change:
    values = dict(document)
    if "space" in values:
        values["space"] = read_parameter(values["space"])
    if "choices" in values:
        values["choices"] = tuple(values["choices"])
    return _KINDS[values["change"]](**values)
