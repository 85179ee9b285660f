"""Bringing files to disk and taking them away: what was admitted is staged, what nobody pins is released.

Where a file stands is learned from the data management: at once where it hints that something changed, and now and
then for everything that is in motion. What comes is not held up by what goes: each is looked at by itself.
"""

from collections.abc import Mapping, Sequence

from idds.domain.identifiers import Did
from idds.domain.statuses import ReplicaStatus
from idds.engine.stalls import Patience
from idds.ports.ddm import DDM
from idds.ports.wakeups import Channel, Wakeups
from idds.services.choosing import Choosing
from idds.services.landing import Landing
from idds.services.orders import AGENT, Orders
from idds.services.recalling import Recalling
from idds.services.releasing import Releasing
from idds.services.surveying import News, Survey
from idds.store.database import Database

HINTS_AT_ONCE = 2000


class Residencies:
    """What the carrier does for replicas: `recalling` and `releasing` order, `arrivals` and `departures` look.

    `patience` says how often it is tried again elsewhere, `tapes` on which tape system a tape RSE sits.
    """

    def __init__(
        self,
        database: Database,
        ddm: DDM,
        wakeups: Wakeups,
        owner: str,
        *,
        patience: Patience | None = None,
        tapes: Mapping[str, str] | None = None,
    ) -> None:
        self._database = database
        self._ddm = ddm
        self._wakeups = wakeups
        orders, choosing = Orders(database, owner), Choosing(database, ddm, tapes)
        self.recalling = Recalling(database, orders, choosing, self._ordered)
        self.releasing = Releasing(database, ddm, orders, self._ordered)
        coming = frozenset({ReplicaStatus.STAGING, ReplicaStatus.PRESENT})
        landing = Landing(database, choosing, patience or Patience())
        self.arrivals = Survey(database, ddm, coming, News.TOLD, landing.settle)
        self.departures = Survey(
            database, ddm, frozenset({ReplicaStatus.DELETING}), News.ORDERED, self.releasing.settle
        )

    async def listen(self) -> None:
        """Take the data management's hints, for ever."""
        async for rse, dids in self._ddm.changes():
            self.hint(rse, dids)

    def hint(self, rse: str, dids: Sequence[Did]) -> None:
        """Something may have happened to these files: look at them soon."""
        self._tell(rse, dict.fromkeys(dids, News.SEEN))

    def _ordered(self, rse: str, dids: Sequence[Did]) -> None:
        self._tell(rse, dict.fromkeys(dids, News.ORDERED))

    async def take_hints(self) -> None:
        """Take those that were noted by others, up to some thousands; more are taken at once again."""
        async with self._database.snapshot(timeless=True) as tx:
            if not await tx.hints.any():
                return
        async with self._database.transaction(AGENT) as tx:
            taken = await tx.hints.take(HINTS_AT_ONCE)
        for rse, dids in taken.items():
            self._tell(rse, {did: News.DELETED if is_deleted else News.TOLD for did, is_deleted in dids.items()})

    def _tell(self, rse: str, news: Mapping[Did, News]) -> None:
        for survey in (self.arrivals, self.departures):
            survey.hint(rse, news)
        self._wakeups.wake(Channel.REPLICAS)
