"""Replicas locked together with the requests that pin them: the requests first, as everywhere."""

from collections.abc import Sequence, Set

from idds.domain.identifiers import RequestId
from idds.store.database import Transaction


async def lock_with_pins(tx: Transaction, replica_ids: Sequence[int]) -> None:
    """Lock the requests whose contents pin these replicas; then the replicas, which take no further pin then."""
    pinning = await tx.contents.pinning(replica_ids)
    while True:
        try:
            async with tx.savepoint():
                return await _lock(tx, replica_ids, pinning)
        except _PinnedMeanwhile as late:
            pinning |= late.requests


async def _lock(tx: Transaction, replica_ids: Sequence[int], pinning: Set[RequestId]) -> None:
    await tx.requests.lock(pinning)
    await tx.replicas.lock(replica_ids)
    if late := await tx.contents.pinning(replica_ids) - pinning:
        raise _PinnedMeanwhile(late)


class _PinnedMeanwhile(Exception):
    """By requests that are not locked; to lock them now would be to wait for each other."""

    def __init__(self, requests: Set[RequestId]) -> None:
        super().__init__()
        self.requests = requests
