"""The API over the real store, to be called as a client does; the transformer's duties are done when a test says so."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import func, select

from idds.api.application import make_application
from idds.domain.request import Principal, Role
from idds.ports.identity import Issuers, Proxy
from idds.ports.provider import Provider
from idds.ports.sampler import Sampler
from idds.runtime.doors import Doors
from idds.runtime.settings import AccessSettings, ApiSettings
from idds.runtime.wakeups import LocalWakeups
from idds.search import offer as search
from idds.search.weighing import ProcessImportance
from idds.services.access import Access
from idds.services.catalogue import Catalogue
from idds.services.delivery import Delivery
from idds.services.events import Events
from idds.services.explanation import Explanation
from idds.services.files import Files
from idds.services.forecast import Forecast
from idds.services.hinting import Hinting
from idds.services.metering import Metering
from idds.services.placement import Placement
from idds.services.planning import Planning
from idds.services.progress import Progress
from idds.services.redefining import Redefining
from idds.services.registration import Registration
from idds.services.sampling import Sampling
from idds.services.series import Series
from idds.services.standing import Rules
from idds.services.steering import Known, Steering
from idds.services.study_catalogue import StudyCatalogue
from idds.services.study_series import StudyCharts
from idds.services.submission import Offer, Submission
from idds.services.tasks import Tasks
from idds.store.database import Database
from idds.store.schema import metadata
from idds.store.upgrade import upgrade
from idds.web.application import add_pages

STUDY = {
    "name": "study",
    "works": [
        {
            "name": "scan",
            "input": {
                "samples": {"count": 6, "sampler": "random", "space": {"x": {"type": "float", "low": 0, "high": 1}}}
            },
        }
    ],
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    document: Any


class Api:
    def __init__(self, client: TestClient[Any, Any], doors: Doors, samplers: Mapping[str, Sampler]) -> None:
        self.client = client
        self.doors = doors
        self.database = doors.database
        self.wakeups = doors.wakeups
        self.token = ""
        self.samplers = samplers
        self._progress = Progress(doors.database, Placement("local", "DISK", "DISK", 4))
        self._planning = Planning(doors.database, Rules())
        self._sampling = Sampling(doors.database, samplers, "test")

    async def new_token(self, owner: str, vo: str = "vo", *, role: Role = Role.USER) -> str:
        return await self.doors.access.issue(Principal(owner, vo, role))

    async def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **more: Any) -> Answer:
        """Call with the owner's token, another one, or (empty) none."""
        token = self.token if token is None else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        async with self.client.request(method, path, headers=headers, **more) as response:
            if response.content_type == "text/event-stream":
                return Answer(response.status, response.headers, None)
            is_json = response.content_type in ("application/json", "application/problem+json")
            document = await response.json(content_type=None) if is_json else await response.read()
            return Answer(response.status, response.headers, document)

    async def get(self, path: str, **more: Any) -> Any:
        answer = await self.call("GET", path, **more)
        assert answer.status == 200, answer.document
        return answer.document

    async def post(self, path: str, body: Any, **more: Any) -> Any:
        answer = await self.call("POST", path, body, **more)
        assert answer.status in (200, 201), answer.document
        return answer.document

    async def submit(self, workflow: Mapping[str, Any] = STUDY) -> int:
        """Submit a workflow, and have it advanced as far as it goes."""
        request: int = (await self.post("/v1/requests", {"workflow": workflow}))["id"]
        await self.advance()
        return request

    async def input_of(self, request: int, number: int = 0) -> int:
        """The id of an input collection."""
        found = (await self.get(f"/v1/requests/{request}"))["collections"]
        collection: int = [each for each in found if each["relation"] == "input"][number]["id"]
        return collection

    async def advance(self) -> None:
        while await self._progress.step() + await self._planning.step() + await self._sampling.step():
            pass

    async def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        async with self.database.snapshot() as tx:
            return {
                table.name: int((await tx.connection.execute(select(func.count()).select_from(table))).scalar_one())
                for table in metadata.sorted_tables
            }


@asynccontextmanager
async def api_on(
    url: str,
    settings: ApiSettings | None = None,
    providers: Mapping[str, Provider] | None = None,
    *,
    issuers: Issuers | None = None,
    proxy: Proxy | None = None,
    access: AccessSettings | None = None,
    wakeups: LocalWakeups | None = None,
) -> AsyncIterator[Api]:
    """The API on a fresh database, and a token of an owner."""
    settings = settings or ApiSettings(authentication_memory_s=0)
    wakeups = wakeups or LocalWakeups()
    database = Database(url, wakeups=wakeups)
    samplers = search.samplers()
    try:
        await upgrade(database)
        offer = Offer(frozenset({"local"}), frozenset({"DISK"}), search.names())
        submission = Submission(database, offer)
        doors = Doors(
            database=database,
            wakeups=wakeups,
            access=Access(database, issuers, proxy),
            submission=submission,
            catalogue=Catalogue(database, providers or {}),
            delivery=Delivery(database),
            registration=Registration(database),
            redefining=Redefining(database),
            explanation=Explanation(database),
            events=Events(database),
            metering=Metering(database),
            tasks=Tasks(database, submission),
            series=Series(database),
            study_charts=StudyCharts(database, ProcessImportance()),
            files=Files(database),
            steering=Steering(database, Known(frozenset({"DISK", "OTHER"}))),
            forecast=Forecast(database),
            hinting=Hinting(database),
            studies=StudyCatalogue(database),
        )
        application = make_application(doors, settings, access)
        add_pages(application)
        async with TestClient(TestServer(application)) as client:
            api = Api(client, doors, samplers)
            api.token = await api.new_token("owner")
            yield api
    finally:
        for sampler in samplers.values():
            await sampler.close()
        await database.close()
