"""What has grown old is forgotten: jobs and tokens that ended, messages, entries of the audit log."""

from collections.abc import Mapping

from idds.domain.processing import job_key
from idds.ports.provider import Provider
from idds.store.database import Database

JOBS_AT_ONCE = 200
MESSAGES_AT_ONCE = 5000
ROWS_AT_ONCE = 5000


class Forgetting:
    """What the agents do so that disk and database do not grow for ever. Times are microseconds."""

    def __init__(self, database: Database, providers: Mapping[str, Provider]) -> None:
        self._database = database
        self._providers = providers

    async def jobs(self, name: str, keep: int) -> int:
        """Have a provider forget the jobs of processings that ended longer ago than `keep`; how many processings."""
        provider = self._providers[name]
        async with self._database.snapshot() as tx:
            ended = await tx.processings.kept(name, tx.now - keep, JOBS_AT_ONCE)
        if not ended:
            return 0
        keys = [job_key(each.id, attempt) for each in ended for attempt in range(1, each.attempt + 1)]
        await provider.forget(sorted((await provider.find(keys)).values()))
        async with self._database.transaction("carrier") as tx:
            await tx.processings.note_forgotten([each.id for each in ended])
        return len(ended)

    async def messages(self, keep: int, *, unsent: bool) -> int:
        """Forget messages that were sent, or came in, longer ago than `keep`; how many.

        `unsent` takes those that are waiting so long, too: without a broker nobody sends them.
        """
        async with self._database.transaction("conductor") as tx:
            return await tx.messages.forget_before(tx.now - keep, limit=MESSAGES_AT_ONCE, unsent=unsent)

    async def landings(self, keep: int) -> int:
        """Forget what was counted of files that landed longer ago than `keep`; how many rows."""
        async with self._database.transaction("transformer") as tx:
            return await tx.throughput.forget_before(tx.now - keep, limit=ROWS_AT_ONCE)

    async def access(self, keep_tokens: int, keep_audit: int) -> int:
        """Forget tokens that ended, and entries of the audit log that were made, longer ago; how many."""
        async with self._database.transaction("transformer") as tx:
            tokens = await tx.tokens.forget_before(tx.now - keep_tokens, limit=ROWS_AT_ONCE)
            return tokens + await tx.audit.forget_before(tx.now - keep_audit, limit=ROWS_AT_ONCE)
