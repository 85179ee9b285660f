"""Claims that nobody holds any more."""

from sqlalchemy import update

from idds.store.database import Transaction
from idds.store.schema import effects, processings, requests


async def end_claims(tx: Transaction) -> None:
    """End every claim there is: only for who knows that all that made them are dead, as the one process on SQLite does.

    What they held is due at once, instead of when their claims would have ended.
    """
    await tx.connection.execute(update(requests).where(requests.c.publisher.is_not(None)).values(publisher=None))
    for table in (effects, processings):
        held = update(table).where(table.c.owner.is_not(None))
        await tx.connection.execute(held.values(owner=None, due_at=tx.now))
