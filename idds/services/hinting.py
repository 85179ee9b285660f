"""What is heard of data management from outside: noted for the carrier, in whatever process that is."""

from collections.abc import Mapping

from idds.domain.replica import Change
from idds.store.database import Database

AGENT = "api"


class Hinting:
    """What the API does for a data management that tells of its own accord."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def changed(self, changes: Mapping[str, Change]) -> int:
        """Have the files looked at that these changes, by their ids, are of; of how many changes that is news.

        What is no replica of ours, or was told before, changes nothing; the order in
        which they are told does not count.
        """
        async with self._database.snapshot() as tx:
            ours = await tx.hints.ours(changes)
        if not ours:
            return 0
        async with self._database.transaction(AGENT) as tx:
            fresh = await tx.messages.receive_all(list(ours))
            deleted = {place for key in fresh if changes[key].is_deletion for place in ours[key]}
            await tx.hints.add((place for key in fresh for place in ours[key]), deleted=deleted)
        return len(fresh)
