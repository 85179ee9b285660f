"""Contents as they are listed, by the hundred thousand: plain rows, one statement a page."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import TextClause, text

from idds.domain.collection import Collection
from idds.domain.statuses import ContentStatus, SourceKind
from idds.store.noun import Noun


class Listed(NamedTuple):
    """A content. `path` is where its file lies; `parameters` and `objective_values` are JSON, as it is stored."""

    id: int
    scope: str
    name: str
    min_id: int
    max_id: int
    bytes: int
    adler32: str | None
    status: str
    attempt: int
    lessee: str | None
    lease_until: int | None
    reason: str | None
    changed_at: int
    path: str | None
    parameters: str | None
    objective_values: str | None


# JSON is not read, but goes out as it lies there. What stands beside is looked up for each: it may not be joined by
# reading all replicas there are.
_PAGE = """
SELECT c.id, c.scope, c.name, c.min_id, c.max_id, c.bytes, c.adler32, c.status, c.attempt, c.lessee, c.lease_until,
       c.reason, c.changed_at, {path}, CAST(c.payload -> 'parameters' AS text), {objective_values}
  FROM contents c
 WHERE c.collection_id = :collection AND c.id > :after {of_status}
 ORDER BY c.collection_id, c.id LIMIT :most
"""
_PATH = "(SELECT path FROM replicas WHERE replicas.id = c.replica_id)"
_OBJECTIVE_VALUES = "(SELECT CAST(objective_values AS text) FROM samples WHERE content_id = c.id)"
_OF_SAMPLES = {"path": "NULL", "objective_values": _OBJECTIVE_VALUES}
_OF_FILES = {"path": _PATH, "objective_values": "NULL"}


def _statement(beside: Mapping[str, str], status: ContentStatus | None) -> TextClause:
    return text(_PAGE.format(**beside, of_status="" if status is None else f"AND c.status = '{status}'"))


_STATEMENTS = {
    (is_study, status): _statement(_OF_SAMPLES if is_study else _OF_FILES, status)
    for is_study in (False, True)
    for status in (None, *ContentStatus)
}


class Listings(Noun):
    async def page(
        self, collection: Collection, *, status: ContentStatus | None, after: int, limit: int
    ) -> Sequence[Listed]:
        """Contents of a collection in id order, with ids above `after`."""
        statement = _STATEMENTS[collection.source is SourceKind.SAMPLES, status]
        bound = {"collection": collection.id, "after": after, "most": limit}
        return list(map(Listed._make, await self._execute(statement, bound)))
