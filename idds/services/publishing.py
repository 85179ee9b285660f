"""Messages out, in order per request, and acknowledgements in."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import structlog

from idds.domain.content import Outcome
from idds.domain.identifiers import ContentId, RequestId
from idds.domain.message import Message
from idds.domain.request import Principal, Role
from idds.engine.numbers import NotFinite, worded
from idds.ports.bus import Bus, Delivery
from idds.services.delivery import Delivery as ContentDelivery
from idds.services.tasks import LARGEST, STORABLE, Tasks
from idds.services.telling import reports_topic_of
from idds.store.database import Database, Transaction

AGENT = "conductor"
LEASE = 30_000_000
REQUESTS_AT_ONCE = 20
MESSAGES_AT_ONCE = 200
READ_AT_ONCE = 20
BYTES_AT_ONCE = 4_000_000
"""Of bodies, about; a message that names thousands of contents is large."""
_ACKNOWLEDGED = "/acknowledgements"
ACKNOWLEDGEMENTS = f"idds/+{_ACKNOWLEDGED}"
REPORTS = reports_topic_of("+")

log = structlog.get_logger()


class Publishing:
    """What the conductor does with the outbox."""

    def __init__(self, database: Database, bus: Bus, owner: str) -> None:
        self._database = database
        self._bus = bus
        self._owner = owner

    async def step(self) -> int:
        """Publish what waits; how many messages. Raises Unavailable while the broker is away: nothing is lost."""
        async with self._database.transaction(AGENT, brief=True) as tx:
            requests = await tx.messages.claim(owner=self._owner, lease=LEASE, limit=REQUESTS_AT_ONCE)
            waiting = await _waiting(tx, requests)
        if not requests:
            return 0
        sent = False
        try:
            await self._bus.publish([(m.topic, m.body.encode()) for batch in waiting.values() for m in batch])
            sent = True
        finally:
            async with self._database.transaction(AGENT, brief=True) as tx:
                await tx.requests.lock(requests)
                for request, batch in waiting.items():
                    if sent and batch:
                        await tx.messages.mark_sent(request, batch[-1].seq)
                await tx.messages.give_back(requests, self._owner)
        return sum(map(len, waiting.values()))


async def _waiting(tx: Transaction, requests: Sequence[RequestId]) -> dict[RequestId, list[Message]]:
    """What each of these has to publish, as far as it goes into memory; the others follow in the next step."""
    waiting: dict[RequestId, list[Message]] = {}
    size = 0
    for request in requests:
        batch = waiting[request] = []
        while size < BYTES_AT_ONCE and len(batch) < MESSAGES_AT_ONCE:
            page = await tx.messages.unsent(request, READ_AT_ONCE, after=batch[-1].seq if batch else 0)
            batch += page
            size += sum(len(message.body) for message in page)
            if len(page) < READ_AT_ONCE:
                break
    return waiting


class ContentOutcome(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[int, msgspec.Meta(gt=0, le=LARGEST)]
    status: Annotated[str, msgspec.Meta(pattern="^(done|failed)$")]
    attempt: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] = 0
    reason: Annotated[str, msgspec.Meta(max_length=1000, pattern=STORABLE)] | None = None
    retry: bool = True
    objective_values: list[float | NotFinite] = []
    events: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] | None = None
    constraint_values: list[float | NotFinite] = []
    pruned: bool = False

    def outcome(self) -> Outcome:
        return Outcome(
            ContentId(self.id),
            self.attempt,
            done=self.status == "done",
            reason=self.reason,
            retry=self.retry,
            objective_values=tuple(map(float, self.objective_values)),
            events=self.events,
            constraint_values=tuple(map(float, self.constraint_values)),
            is_pruned=self.pruned,
        )


class Acknowledgement(msgspec.Struct):
    """What a trusted service says of contents; fields that are not known here are passed over."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=STORABLE)]
    type: Annotated[str, msgspec.Meta(pattern=r"^contents\.processed$")]
    contents: Annotated[list[ContentOutcome], msgspec.Meta(max_length=10_000)]


class Acknowledging:
    """What the conductor does with messages that come in."""

    def __init__(self, delivery: ContentDelivery, tasks: Tasks, bus: Bus) -> None:
        self._delivery = delivery
        self._tasks = tasks
        self._bus = bus

    async def listen(self) -> None:
        """Take them in, for ever. One is acknowledged to the broker after its effect is committed."""
        async for message in self._bus.consume([ACKNOWLEDGEMENTS, REPORTS]):
            vo = message.topic.split("/")[1]
            await (self._take(vo, message) if message.topic.endswith(_ACKNOWLEDGED) else self._hear(vo, message))
            await message.ack()

    async def _hear(self, vo: str, message: Delivery) -> None:
        """What a workload manager says of its jobs and tasks."""
        try:
            await self._tasks.take(Principal(f"bus:{vo}", vo, Role.WFMS), message.body)
        except msgspec.MsgspecError as error:
            log.warning("a message that is no report was dropped", topic=message.topic, error=str(error))

    async def _take(self, vo: str, message: Delivery) -> None:
        try:
            body = msgspec.json.decode(worded(message.body), type=Acknowledgement)
        except msgspec.MsgspecError as error:
            log.warning("a message that is no acknowledgement was dropped", topic=message.topic, error=str(error))
            return
        outcomes = [content.outcome() for content in body.contents]
        receipts = await self._delivery.acknowledge(vo, body.id, outcomes)
        log.debug("acknowledged", message=body.id, verdicts=[str(receipt.verdict) for receipt in receipts])
