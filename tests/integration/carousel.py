"""A carousel over the real store, step by step: data management in memory with several tapes, and a manual clock."""

from collections.abc import Sequence
from random import Random

from idds.domain.collection import Collection
from idds.domain.content import Content
from idds.domain.files import File
from idds.domain.identifiers import Did, RequestId
from idds.domain.replica import Replica
from idds.domain.request import Principal, Role
from idds.domain.statuses import Relation
from idds.domain.workflow import Input, WindowLimits, Work, Workflow
from idds.engine.stalls import Patience
from idds.ports.ddm import NotNow, Refused, Source, Staging, Where
from idds.runtime.wakeups import LocalWakeups
from idds.services.forecast import Forecast
from idds.services.listing import Listing
from idds.services.placement import Placement
from idds.services.planning import Planning
from idds.services.progress import Progress
from idds.services.staging import Residencies
from idds.services.stalls import Stalls
from idds.services.standing import Rules
from idds.services.steering import Known, Order, Steering
from idds.services.submission import Offer, Submission
from idds.store.database import Database
from idds.testing.clock import ManualClock
from idds.testing.memory_ddm import MemoryDDM
from tests.integration.surveys import survey

DISK, OTHER = "DISK", "OTHER"
SECOND = 1_000_000
OPERATOR = Principal("op", "vo", Role.OPERATOR)
OWNER = Principal("owner", "vo")
SIZE = 10


class Tapes(MemoryDDM):
    """Files are on the tapes that `tapes` says, on TAPE where it says nothing; none lands before it is told to."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.tapes: dict[Did, tuple[str, ...]] = {}
        self.orders: list[tuple[str, str | None]] = []

    async def sources(self, dids: Sequence[Did]) -> dict[Did, tuple[Source, ...]]:
        return {did: tuple(Source(rse, rse != "ELSEWHERE") for rse in self.tapes.get(did, ("TAPE",))) for did in dids}

    def _stage(self, rse: str, file: File, source: str | None) -> Staging | NotNow | Refused:
        self.orders.append((file.did.name, source))
        if source is not None and self._sources.get((rse, file.did)) != source:
            self._states.pop((rse, file.did), None)  # what is on its way from elsewhere is ordered anew
        return super()._stage(rse, file, source)

    def land(self, rse: str, *names: str) -> None:
        for name in names:
            self._states[rse, Did("data", name)] = Where.PRESENT

    def fail(self, rse: str, name: str) -> None:
        self._states[rse, Did("data", name)] = Where.FAILED

    def finish_deleting(self) -> None:
        for key, state in list(self._states.items()):
            if state is Where.DELETING:
                del self._states[key]


class Running:
    """All duties that a carousel has, done when a test says so."""

    def __init__(self, database: Database, clock: ManualClock, patience: Patience | None = None) -> None:
        patience = patience or Patience()
        self.database, self.clock, self.ddm = database, clock, Tapes()
        self.progress = Progress(database, Placement("local", DISK, "OUT"))
        self.planning = Planning(database, Rules())
        self.listing = Listing(database, self.ddm, "me")
        self.residencies = Residencies(database, self.ddm, LocalWakeups(), "me", patience=patience)
        self.stalls = Stalls(database, self.ddm, "me", patience)
        self.submission = Submission(database, Offer(frozenset(), frozenset({DISK, OTHER}), frozenset()))
        self.steering = Steering(database, Known(frozenset({DISK, OTHER}), {DISK: WindowLimits(bytes=50)}))

    @property
    def forecast(self) -> Forecast:
        """One that remembers nothing of before."""
        return Forecast(self.database)

    async def submit(
        self, name: str, number: int, *, window: WindowLimits | None = None, by: Principal = OWNER
    ) -> RequestId:
        """A request for a dataset of so many files, which begin with its name."""
        dataset = Did("data", name)
        self.ddm.add_dataset(dataset, [File(Did("data", f"{name}{no}"), SIZE) for no in range(number)])
        source = Input(dataset=str(dataset), window=window or WindowLimits())
        request, _ = await self.submission.submit(by, Workflow(name=name, works=(Work(name="w", input=source),)))
        await self.advance()
        return request.id

    async def advance(self) -> None:
        """All that can be done without the world moving on."""
        while (
            await self.progress.step()
            + await self.listing.step()
            + await self.planning.step()
            + await self.residencies.recalling.step()
            + await self.residencies.releasing.step()
            + await self.stalls.boost()
        ):
            pass

    async def survey(self) -> None:
        await survey(self.residencies, everything=True)
        await self.advance()

    async def input_of(self, request: RequestId) -> Collection:
        async with self.database.snapshot() as tx:
            found = await tx.collections.of_request(request)
        return next(each for each in found if each.relation is Relation.INPUT)

    async def contents(self, request: RequestId) -> list[Content]:
        collection = await self.input_of(request)
        async with self.database.snapshot() as tx:
            return list(await tx.contents.page(collection.id, status=None, after=0, limit=1000))

    async def replica(self, name: str, rse: str = DISK) -> Replica:
        async with self.database.snapshot() as tx:
            (found,) = await tx.replicas.find(rse, [Did("data", name)])
        return found

    async def reasons(self, entity: str, event: str) -> list[str | None]:
        """Why this happened to something."""
        async with self.database.snapshot() as tx:
            return [move.reason for move in await tx.moves.of([entity]) if move.event == event]


def order(*, dry_run: bool = False) -> Order:
    return Order(OPERATOR, dry_run)
