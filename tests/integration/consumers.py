"""Consumers who come one at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from idds.domain.content import Outcome
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.request import Principal
from idds.services.delivery import Delivered, Delivery, GiveBack, Lease, Leased, Order, Receipt, Report, Reported


class Consumers(Delivery):
    """Delivery, with a call for each of what they do. Each raises what it is refused with."""

    async def lease(
        self, principal: Principal, collection: CollectionId, *, count: int, ttl: int, lessee: str
    ) -> Sequence[Delivered]:
        leased: Leased = await self._one(collection, Lease(principal, count, ttl, lessee))
        return leased.contents

    async def give_back(
        self, principal: Principal, collection: CollectionId, held: Mapping[int, int]
    ) -> set[ContentId]:
        returned: set[ContentId] = await self._one(collection, GiveBack(principal, held))
        return returned

    async def report(
        self, principal: Principal, collection: CollectionId, outcomes: Sequence[Outcome]
    ) -> Sequence[Receipt]:
        reported: Reported = await self._one(collection, Report(principal, outcomes))
        return reported.receipts

    async def _one(self, collection: CollectionId, order: Order) -> Any:
        [answer] = await self.serve(collection, [order])
        if isinstance(answer, Exception):
            raise answer
        return answer
