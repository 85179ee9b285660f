"""The one composition root: from settings to parts that know each other."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields

from sqlalchemy import make_url

from idds.bus.embedded import EmbeddedBroker
from idds.bus.mqtt import MqttBus, MqttOptions
from idds.domain.errors import InvalidInput, Problem, Unavailable
from idds.domain.statuses import EffectKind
from idds.domain.workflow import WindowLimits
from idds.engine.planner import Policy
from idds.engine.shares import Share
from idds.engine.stalls import Patience
from idds.identity.proxy import CertificateProxy
from idds.ports.bus import Bus
from idds.ports.ddm import DDM
from idds.ports.provider import Provider
from idds.ports.sampler import Sampler
from idds.runtime import plugins
from idds.runtime.clock import SystemClock
from idds.runtime.doors import Doors
from idds.runtime.identity import owner_name
from idds.runtime.lock import hold
from idds.runtime.secret_file import leave_secret
from idds.runtime.settings import PluginSettings, Settings
from idds.runtime.wakeups import LocalWakeups
from idds.search import offer as search
from idds.search.weighing import ProcessImportance
from idds.services.access import Access
from idds.services.catalogue import Catalogue
from idds.services.collecting import Collecting
from idds.services.commanding import Commanding
from idds.services.delivery import Delivery
from idds.services.events import Events
from idds.services.execution import Execution
from idds.services.expiring import Expiring, Lifetimes
from idds.services.explanation import Explanation
from idds.services.files import Files
from idds.services.forecast import Forecast
from idds.services.forgetting import Forgetting
from idds.services.hinting import Hinting
from idds.services.keeping import Keeping
from idds.services.listing import Listing
from idds.services.metering import Metering
from idds.services.placement import Placement
from idds.services.planning import Planning
from idds.services.progress import Progress
from idds.services.publishing import Acknowledging, Publishing
from idds.services.redefining import Redefining
from idds.services.registration import Registration
from idds.services.sampling import Sampling
from idds.services.series import Series
from idds.services.staging import Residencies
from idds.services.stalls import Stalls
from idds.services.standing import Rules
from idds.services.steering import Known, Steering
from idds.services.study_catalogue import StudyCatalogue
from idds.services.study_series import StudyCharts
from idds.services.submission import Offer, Submission
from idds.services.tasks import Tasks
from idds.services.tidying import Tidying
from idds.store.database import Database
from idds.store.upgrade import is_current, upgrade


@dataclass(frozen=True, slots=True)
class Wired:
    """All parts of a process, started. Those that its settings leave out are None."""

    settings: Settings
    database: Database
    wakeups: LocalWakeups
    clock: SystemClock
    owner: str
    ddm: DDM | None
    providers: Mapping[str, Provider]
    samplers: Mapping[str, Sampler]
    bus: Bus | None
    bus_url: str | None
    doors: Doors

    def next_effect(self, kind: EffectKind) -> Callable[[], Awaitable[int | None]]:
        """Tells in how many microseconds the next effect of this kind is due."""

        async def due_in() -> int | None:
            async with self.database.snapshot(brief=True) as tx:
                return tx.distance(await tx.effects.next_due([kind]))

        return due_in

    def progress(self) -> Progress:
        placement = self.settings.placement
        return Progress(
            self.database,
            Placement(
                placement.provider,
                placement.disk,
                placement.outputs,
                placement.samples_in_flight,
                placement.disks,
                {name: rse.distance for name, rse in self.settings.rses.items()},
            ),
        )

    def planning(self) -> Planning:
        return Planning(self.database, rules_of(self.settings))

    def expiring(self) -> Expiring:
        return Expiring(self.database)

    def sampling(self) -> Sampling:
        return Sampling(self.database, self.samplers, self.owner)

    def commanding(self) -> Commanding:
        return Commanding(self.database, self.providers, self.settings.placement.provider, self.owner)

    def listing(self) -> Listing:
        assert self.ddm is not None
        return Listing(self.database, self.ddm, self.owner)

    def residencies(self) -> Residencies:
        assert self.ddm is not None
        patience, tapes = _patience(self.settings), rules_of(self.settings).systems
        return Residencies(self.database, self.ddm, self.wakeups, self.owner, patience=patience, tapes=tapes)

    def stalls(self) -> Stalls:
        assert self.ddm is not None
        return Stalls(self.database, self.ddm, self.owner, _patience(self.settings), rules_of(self.settings).systems)

    def keeping(self) -> Keeping:
        assert self.ddm is not None
        return Keeping(self.database, self.ddm)

    def tidying(self) -> Tidying:
        assert self.ddm is not None
        return Tidying(self.database, self.ddm, self.clock, self.settings.keep.orphans_s * 1_000_000)

    def execution(self) -> Execution:
        assert self.ddm is not None
        return Execution(self.database, self.providers, Collecting(self.database, self.ddm), self.owner)

    def forgetting(self) -> Forgetting:
        return Forgetting(self.database, self.providers)

    def publishing(self) -> Publishing:
        assert self.bus is not None
        return Publishing(self.database, self.bus, self.owner)

    def acknowledging(self) -> Acknowledging:
        assert self.bus is not None
        return Acknowledging(self.doors.delivery, self.doors.tasks, self.bus)


@asynccontextmanager
async def wired(settings: Settings, *, outside: bool, bus: bool) -> AsyncIterator[Wired]:
    """The parts, started in order and stopped in the other.

    `outside` says whether this process acts on data management and providers, `bus` whether it talks on the bus.
    Raises InvalidInput for settings that cannot be, and Unavailable for what does not answer.
    """
    settings.state.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        owner = owner_name()
        database, wakeups = await _database(settings, owner, stack)
        ddm: DDM | None = None
        providers: dict[str, Provider] = {}
        if outside:
            ddm = ddm_of(settings)
            await ddm.start()
            stack.push_async_callback(ddm.stop)
            for name, plugin in settings.providers.items():
                providers[name] = provider_of(settings, name, plugin)
                await providers[name].start()
                stack.push_async_callback(providers[name].stop)
        samplers = search.samplers(settings.sampler.number)
        for sampler in samplers.values():
            stack.push_async_callback(sampler.close)
        talk, url = await _bus(settings, stack) if bus else (None, None)
        await _declare_windows(database, settings)
        stack.push_async_callback(_give_back, database, owner)
        yield Wired(
            settings=settings,
            database=database,
            wakeups=wakeups,
            clock=SystemClock(),
            owner=owner,
            ddm=ddm,
            providers=providers,
            samplers=samplers,
            bus=talk,
            bus_url=url,
            doors=_doors(settings, database, wakeups, providers, _access(settings, database, stack)),
        )


async def _database(settings: Settings, owner: str, stack: AsyncExitStack) -> tuple[Database, LocalWakeups]:
    wakeups = _wakeups(settings)
    database = Database(settings.database_url, wakeups=wakeups, name=owner)
    stack.push_async_callback(database.close)
    if database.is_sqlite:
        stack.enter_context(hold(f"{database.url.database}.lock"))
        await upgrade(database)
        # Nobody else is here: whoever holds a claim died with it.
        await _give_back(database, None)
    elif not await is_current(database):
        raise Unavailable("the database has not the tables of this version: run `idds db upgrade` once")
    await wakeups.start()
    stack.push_async_callback(wakeups.stop)
    return database, wakeups


async def _give_back(database: Database, owner: str | None) -> None:
    """So that others need not wait for claims of a process that is gone."""
    with contextlib.suppress(Unavailable):
        async with database.transaction("claims") as tx:
            await tx.claims.give_back(owner)
            await tx.agents.remove(owner)


def _wakeups(settings: Settings) -> LocalWakeups:
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        return LocalWakeups()
    from idds.runtime.postgres_wakeups import PostgresWakeups  # asyncpg comes with the extra `pg`

    return PostgresWakeups(url)


def ddm_of(settings: Settings) -> DDM:
    """Not started. Raises InvalidInput."""
    options = dict(settings.ddm.options)
    if settings.ddm.plugin == "posix":
        options.setdefault("root", str(settings.state / "rses"))
        options.setdefault("rses", {"DISK": {"kind": "disk"}, "TAPE": {"kind": "tape"}})
    ddm: DDM = plugins.load("idds.ddm", settings.ddm.plugin, options, "/ddm")
    return ddm


def provider_of(settings: Settings, name: str, plugin: PluginSettings) -> Provider:
    """Not started. Raises InvalidInput."""
    options = dict(plugin.options)
    if plugin.plugin == "local":
        options.setdefault("root", str(settings.state / "jobs"))
    provider: Provider = plugins.load("idds.providers", plugin.plugin, options, f"/providers/{name}")
    return provider


async def _bus(settings: Settings, stack: AsyncExitStack) -> tuple[Bus | None, str | None]:
    match settings.bus.kind:
        case "none":
            return None, None
        case "mqtt":
            bus = MqttBus(mqtt_options_of(settings))
            url = str(settings.bus.options.get("url", ""))
        case "embedded":
            password = secrets.token_urlsafe(24)
            broker = EmbeddedBroker("idds", password, settings.bus.port)
            await broker.start()
            stack.push_async_callback(broker.stop)
            url = broker.url
            bus = MqttBus(MqttOptions(url=url, username="idds"), password)
            leave_secret(settings.state / "mqtt-password", password)
    await bus.start()
    stack.push_async_callback(bus.stop)
    return bus, url


def mqtt_options_of(settings: Settings) -> MqttOptions:
    """Of a broker outside. Raises InvalidInput."""
    names = {field.name for field in fields(MqttOptions)}
    unknown = sorted(settings.bus.options.keys() - names)
    if unknown:
        raise InvalidInput([Problem(f"/bus/options/{name}", "no such option") for name in unknown])
    return MqttOptions(**settings.bus.options)


def rules_of(settings: Settings) -> Rules:
    """How admission is planned."""
    chosen = settings.planning
    return Rules(
        Policy(chosen.run_files, chosen.run_bytes, int(chosen.patience_s * 1e6), int(chosen.longest_wait_s * 1e6)),
        {name: rse.tape_system for name, rse in settings.rses.items() if rse.tape_system is not None},
        {name: tape.recalls_in_flight for name, tape in settings.tapes.items() if tape.recalls_in_flight is not None},
        tuple(Share(name, share.weight, share.express) for name, share in sorted(settings.shares.items())),
    )


async def _declare_windows(database: Database, settings: Settings) -> None:
    async with database.transaction("settings") as tx:
        quotas = {name: share.quota_bytes for name, share in settings.shares.items() if share.quota_bytes is not None}
        await tx.windows.declare_quotas(quotas)
        for name, rse in sorted(settings.rses.items()):
            if rse.tape_system is not None:
                continue
            await tx.windows.declare("rse", name, limit_bytes=rse.window_bytes, limit_files=rse.window_files)


def _patience(settings: Settings) -> Patience:
    """When a recall has stalled."""
    stalls = settings.stalls
    return Patience(
        quantile=stalls.quantile,
        factor=stalls.factor,
        floor=round(stalls.floor_s * 1_000_000),
        unknown=round(stalls.unknown_s * 1_000_000),
        least=stalls.least,
        boosts=stalls.boosts,
        orders=stalls.orders,
        longest=round(stalls.longest_s * 1_000_000),
    )


def _limits(settings: Settings) -> dict[str, WindowLimits]:
    """The windows of disk RSEs, as the settings have them."""
    rses = settings.rses.items()
    return {name: WindowLimits(bytes=rse.window_bytes, files=rse.window_files) for name, rse in rses}


def _lifetimes(settings: Settings) -> Lifetimes:
    default, longest = settings.requests.default_lifetime_s, settings.requests.max_lifetime_s
    return Lifetimes(*(None if seconds is None else seconds * 1_000_000 for seconds in (default, longest)))


def _access(settings: Settings, database: Database, stack: AsyncExitStack) -> Access:
    issuers = None
    if settings.access.issuers:
        from idds.identity.oidc import OidcIssuers  # loads a cryptographic library

        issuers = OidcIssuers(settings.access.issuers)
        stack.push_async_callback(issuers.close)
    proxy = CertificateProxy(settings.access.proxy) if settings.access.proxy.networks else None
    return Access(database, issuers, proxy)


def _doors(
    settings: Settings, database: Database, wakeups: LocalWakeups, providers: Mapping[str, Provider], access: Access
) -> Doors:
    disks = {settings.placement.disk, settings.placement.outputs, *settings.placement.disks}
    disks |= {name for name, rse in settings.rses.items() if rse.tape_system is None}
    offer = Offer(frozenset(settings.providers), frozenset(disks), search.names())
    submission = Submission(database, offer, _lifetimes(settings))
    return Doors(
        database=database,
        wakeups=wakeups,
        access=access,
        submission=submission,
        catalogue=Catalogue(database, providers),
        delivery=Delivery(database),
        registration=Registration(database),
        redefining=Redefining(database),
        explanation=Explanation(database, settings.providers, rules_of(settings)),
        events=Events(database),
        metering=Metering(database),
        tasks=Tasks(database, submission),
        series=Series(database),
        study_charts=StudyCharts(database, ProcessImportance()),
        files=Files(database),
        steering=Steering(database, Known(frozenset(disks), _limits(settings), rules_of(settings).systems)),
        forecast=Forecast(database, rules_of(settings).systems),
        hinting=Hinting(database),
        studies=StudyCatalogue(database),
    )
