"""The outbox and the inbox: what is to be published, in order per request; and what came in once already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Integer, and_, bindparam, delete, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import RequestId
from idds.domain.message import Message
from idds.ports.wakeups import Channel
from idds.store.gathered import Gathered
from idds.store.noun import Noun
from idds.store.schema import inbox, messages, requests
from idds.store.sets import among, among_bound, among_texts

if TYPE_CHECKING:
    from idds.store.database import Transaction


_COUNT = (
    update(requests)
    .where(requests.c.id == bindparam("request"))
    .values(message_seq=requests.c.message_seq + bindparam("more", type_=Integer))
    .returning(requests.c.message_seq)
)
_UNCLAIMED = (
    select(requests.c.id)
    .where(
        requests.c.id.in_(select(messages.c.request_id).where(messages.c.sent_at.is_(None))),
        or_(requests.c.publisher.is_(None), requests.c.publish_until <= bindparam("now")),
    )
    .order_by(requests.c.id)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(key_share=True)
)
_CLAIM = (
    update(requests)
    .where(among_bound(requests.c.id, "ids"))
    .values(publisher=bindparam("by"), publish_until=bindparam("until"))
)
_UNSENT = (
    select(messages.c.request_id, messages.c.seq, messages.c.topic, messages.c.body)
    .where(
        messages.c.request_id == bindparam("request"), messages.c.seq > bindparam("after"), messages.c.sent_at.is_(None)
    )
    .order_by(messages.c.seq)
    .limit(bindparam("most", type_=Integer))
)
_SENT = (
    update(messages)
    .where(
        messages.c.request_id == bindparam("request"),
        messages.c.seq <= bindparam("up_to"),
        messages.c.sent_at.is_(None),
    )
    .values(sent_at=bindparam("at"))
)


LONG = 1_000_000
"""Characters: longer ones are not written with all else, in one document that is held in memory as a whole."""


class Messages(Noun):
    """What is added is written at the end of the transaction, all at once."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._added: dict[RequestId, list[tuple[str, Mapping[str, Any]]]] = {}
        self._last: dict[RequestId, int] = {}

    def add(self, request: RequestId, bodies: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Put (topic, body) pairs into the outbox; `id`, `seq` and `time` are set when they are written."""
        if bodies:
            self._added.setdefault(request, []).extend(bodies)
            self._tx.wake(Channel.MESSAGES)

    def go_on_from(self, request: RequestId, last: int) -> None:
        """Of a request that this transaction has locked, the last `seq`: nobody else gives the next ones."""
        if request not in self._added:
            self._last[request] = last

    async def gather(self) -> Gathered:
        """What was added and is not written yet, numbered on from each request's counter: the caller is to write it."""
        added, self._added = self._added, {}
        rows: list[dict[str, Any]] = []
        numbers: dict[RequestId, int] = {}
        for request, bodies in sorted(added.items()):
            if (last := self._last.get(request)) is None:
                counted = await self._execute(_COUNT, {"request": request, "more": len(bodies)})
                last = counted.scalar_one() - len(bodies)
            else:
                numbers[request] = self._last[request] = last + len(bodies)
            rows += [self._row(request, seq, *pair) for seq, pair in enumerate(bodies, last + 1)]
        counted_on = [{"request": request, "last": last} for request, last in numbers.items()]
        if sum(len(row["body"]) for row in rows) > LONG:
            await self._tx.write({"messages": rows})
            rows = []
        return {"messages": rows, "numbers": counted_on}

    async def _written(self) -> None:
        await self._tx.write(await self.gather())

    def _row(self, request: RequestId, seq: int, topic: str, body: Mapping[str, Any]) -> dict[str, Any]:
        document = {"id": f"{request}.{seq}", "seq": seq, "time": self._tx.now, **body}
        return {
            "request_id": request,
            "seq": seq,
            "topic": topic,
            "body": msgspec.json.encode(document).decode(),
            "created_at": self._tx.now,
        }

    async def claim(self, *, owner: str, lease: int, limit: int) -> list[RequestId]:
        """Take requests with something to publish, for `lease` microseconds: who holds a request keeps its order."""
        await self._written()
        now = self._tx.now
        ids = [row.id for row in await self._execute(_UNCLAIMED, {"now": now, "most": limit})]
        if ids:
            await self._execute(_CLAIM, {"ids": ids, "by": owner, "until": now + lease})
        return [RequestId(request) for request in ids]

    async def give_back(self, claimed: Sequence[RequestId], owner: str) -> None:
        """Let others publish for these requests."""
        ours = update(requests).where(among(requests.c.id, claimed), requests.c.publisher == owner)
        await self._execute(ours.values(publisher=None))

    async def unsent(self, request: RequestId, limit: int, *, after: int = 0) -> list[Message]:
        """The next messages of a request to be published, in order, with a seq above `after`."""
        await self._written()
        rows = await self._execute(_UNSENT, {"request": request, "most": limit, "after": after})
        return [Message(**row._asdict()) for row in rows]

    async def mark_sent(self, request: RequestId, up_to: int) -> None:
        """Everything of the request up to this seq has been taken by the broker."""
        await self._execute(_SENT, {"request": request, "up_to": up_to, "at": self._tx.now})

    async def of_request(self, request: RequestId, *, after: int, limit: int) -> list[Message]:
        await self._written()
        query = (
            select(messages.c.request_id, messages.c.seq, messages.c.topic, messages.c.body)
            .where(messages.c.request_id == request, messages.c.seq > after)
            .order_by(messages.c.seq)
            .limit(limit)
        )
        return [Message(**row._asdict()) for row in await self._execute(query)]

    async def take_in(self, message_id: str) -> bool:
        """Note that a message came in; False when it had come already."""
        values = {"id": message_id, "received_at": self._tx.now}
        if self._is_sqlite:
            result = await self._execute(sqlite.insert(inbox).values(values).on_conflict_do_nothing())
        else:
            result = await self._execute(postgresql.insert(inbox).values(values).on_conflict_do_nothing())
        return result.rowcount == 1

    async def receive_all(self, message_ids: Sequence[str]) -> set[str]:
        """Note that messages came in; those that had not come before."""
        # In one order: else two that note the same ones could wait for each other in a circle.
        rows = [{"id": message_id, "received_at": self._tx.now} for message_id in sorted(set(message_ids))]
        before = select(inbox.c.id).where(among_texts(inbox.c.id, message_ids))
        known = {row.id for row in await self._execute(before)}
        fresh = [row for row in rows if row["id"] not in known]
        if fresh:
            upsert = sqlite.insert(inbox) if self._is_sqlite else postgresql.insert(inbox)
            await self._execute(upsert.on_conflict_do_nothing(), fresh)
        return {str(row["id"]) for row in fresh}

    async def forget_before(self, time: int, *, limit: int = 10_000, unsent: bool = False) -> int:
        """Drop up to `limit` messages sent before this time, and as many that came in; how many of both.

        `unsent` drops what was recorded before it and not sent, too: where there is no broker.
        """
        old = messages.c.sent_at < time
        if unsent:
            old = or_(old, and_(messages.c.sent_at.is_(None), messages.c.created_at < time))
        some = select(messages.c.request_id, messages.c.seq).where(old).limit(limit)
        key = tuple_(messages.c.request_id, messages.c.seq)
        out = await self._execute(delete(messages).where(key.in_(some)))
        came = select(inbox.c.id).where(inbox.c.received_at < time).limit(limit)
        return out.rowcount + (await self._execute(delete(inbox).where(inbox.c.id.in_(came)))).rowcount
