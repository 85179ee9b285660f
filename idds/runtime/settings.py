"""The settings of the service: a TOML file, and environment variables that go before it (`IDDS_STORE__URL=...`)."""

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from idds.domain.errors import InvalidInput, Problem
from idds.identity.options import IssuerOptions, OpenSamples, ProxyOptions
from idds.runtime.settings_file import NESTED, PREFIX, Sources, load


class _Section(BaseModel):
    # What was given is not shown with an error: it may hold a password.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class StoreSettings(_Section):
    """Where the truth lies."""

    url: str = Field("", description="Database URL; empty for a SQLite file in the state folder.")


class ApiSettings(_Section):
    """The HTTP API, and the limits that it holds its callers to."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    max_body_bytes: int = Field(16 * 2**20, gt=0, description="Largest body of a request, unpacked.")
    max_stall_s: float = Field(30.0, gt=0, description="A body of which nothing comes for so long ends its call.")
    max_header_bytes: int = Field(8190, ge=1024, description="Longest line of a call's head.")
    max_head_s: float = Field(15.0, gt=0, description="A new connection has so long to send the head of a call.")
    idle_s: float = Field(75.0, gt=0, description="A connection may be idle so long; longer than the proxy lets it.")
    rate_per_s: float = Field(0.0, ge=0, description="Calls a second that an owner may make; 0 for any number.")
    burst: int = Field(100, ge=1, description="Calls that it may make at once, where there is a rate.")
    rate_memory_size: int = Field(10_000, ge=1, description="Owners whose calls are counted at once.")
    default_lease_s: float = Field(600.0, gt=0, description="A lease whose taker does not say.")
    max_lease_s: float = Field(7 * 86400.0, gt=0, description="Longest lease.")
    max_wait_s: float = Field(30.0, ge=0, description="Longest wait of a lease for contents.")
    max_streams: int = Field(2000, ge=0, description="Streams of events that may be open.")
    max_streams_each: int = Field(100, ge=0, description="Streams of events that an owner may have open.")
    max_event_bytes: int = Field(2**20, ge=1024, description="Who is so far behind with reading events is cut off.")
    event_beat_s: float = Field(15.0, gt=0, description="A stream shows a sign of life, and its token is looked at.")
    authentication_memory_s: float = Field(
        3.0, ge=0, description="A token that another process revoked may be taken so long."
    )
    authentication_memory_size: int = Field(10_000, ge=1, description="Tokens that are remembered for that time.")
    token_usage_interval_s: float = Field(10.0, gt=0, description="When tokens were used is written so often.")
    readiness_timeout_s: float = Field(2.0, gt=0, description="A database that does not answer for so long is away.")


class AccessSettings(_Section):
    """Who may call; docs/access.md tells how."""

    default_token_s: int = Field(30 * 86400, gt=0, description="Life of a token whose maker does not say.")
    max_token_s: int = Field(365 * 86400, gt=0, le=10**9, description="Longest life of a token that a caller makes.")
    default_payload_token_s: int = Field(86400, gt=0, description="Life of a payload's token whose maker does not say.")
    max_payload_token_s: int = Field(30 * 86400, gt=0, le=10**9, description="Longest life of a payload's token.")
    issuers: dict[str, IssuerOptions] = Field({}, description="OpenID Connect issuers by name.")
    proxy: ProxyOptions = Field(ProxyOptions(networks=(), names=None), description="A proxy that checks certificates.")
    open_samples: OpenSamples = Field(
        OpenSamples(networks=(), vo=None), description="Payloads in the field, which show no token."
    )
    rucio_secret_file: Path | None = Field(
        None, description="File with the secret that Rucio's hermes shows; none: its events are not taken."
    )

    @field_validator("issuers")
    @classmethod
    def _one_name_each(cls, issuers: dict[str, IssuerOptions]) -> dict[str, IssuerOptions]:
        if len({issuer.url for issuer in issuers.values()}) < len(issuers):
            raise ValueError("two of them have the same url")
        return issuers


class BusSettings(_Section):
    """The message bus."""

    kind: Literal["embedded", "mqtt", "none"] = Field(
        "embedded", description="A broker in this process, one outside, or none at all."
    )
    port: int = Field(0, ge=0, le=65535, description="Port of the embedded broker; 0 for any free one.")
    options: dict[str, Any] = Field({}, description="For kind mqtt: url, username, password_file, client_id, ...")


class PluginSettings(_Section):
    """A plugin of an entry point group, and its own options."""

    plugin: str = Field(description="The plugin's name.")
    options: dict[str, Any] = Field({}, description="What the plugin documents.")


class RseSettings(_Section):
    """A disk RSE and its window: how much of it this service may fill. Or a tape RSE, and the tape system it is on."""

    window_bytes: int | None = Field(None, gt=0, description="Bytes admitted at once; none for no limit.")
    window_files: int | None = Field(None, gt=0, description="Files admitted at once; none for no limit.")
    tape_system: str | None = Field(None, description="Of a tape RSE: the tape system that it shares with others.")
    distance: dict[str, int] = Field({}, description="How far a disk RSE is from each provider; 0 where not said.")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "RseSettings":
        if self.tape_system is not None and (self.window_bytes or self.window_files):
            raise ValueError("a tape RSE has no window: [tapes.NAME] bounds what is recalled from its system")
        return self


class TapeSettings(_Section):
    """A tape system; a tape RSE that names none is one by itself."""

    recalls_in_flight: int | None = Field(None, gt=0, description="Files recalled at once; none for any number.")


class ShareSettings(_Section):
    """A share, as requests name it."""

    weight: float = Field(1.0, gt=0, le=1e6, description="Its part of a disk, against those of the others.")
    express: bool = Field(False, description="It is admitted before those that are not.")
    quota_bytes: int | None = Field(None, gt=0, description="Bytes it may hold on all disks; none for no limit.")


class PlanningSettings(_Section):
    """How admission to disks is planned; docs/carousel-planning.md tells more."""

    run_files: int = Field(10, gt=0, description="Files are recalled in runs of so many, where there are.")
    run_bytes: int | None = Field(None, gt=0, description="Or of so many bytes, if that is less; none for any number.")
    patience_s: float = Field(60.0, ge=0, description="No longer than this, room for a whole run is waited for.")
    longest_wait_s: float = Field(
        3600.0, gt=0, description="An input that holds nothing for so long goes before all others."
    )


class StallsSettings(_Section):
    """Recalls that make no progress; docs/carousel-operations.md tells how they are found and what is done."""

    quantile: float = Field(
        0.99, gt=0, le=1, description="The part of a tape's recent recalls that came in usual time."
    )
    factor: float = Field(3.0, ge=1, description="A recall has stalled that takes so many times as long as those.")
    floor_s: float = Field(900.0, gt=0, description="None has stalled before that, however fast its tape is.")
    unknown_s: float = Field(6 * 3600.0, gt=0, description="The same for a tape of which little has come of late.")
    least: int = Field(50, ge=1, description="So many files of the last day say what is usual.")
    boosts: int = Field(1, ge=0, description="How often a stalled recall is hastened.")
    orders: int = Field(2, ge=0, description="How often it is then recalled from elsewhere, before it is given up.")
    longest_s: float = Field(7 * 86400.0, gt=0, description="When one is given up though nothing at all comes.")


class PlacementSettings(_Section):
    """Where things go when the workflow document does not say."""

    provider: str = Field("local", description="Where processings run.")
    disk: str = Field("DISK", description="The RSE that inputs are staged to.")
    disks: tuple[str, ...] = Field((), description="Several, of which the best is chosen for each input; none: disk.")
    outputs: str = Field("DISK", description="The RSE that outputs go to.")
    samples_in_flight: int = Field(100, gt=0, description="Window of a study that names none.")


class SamplerSettings(_Section):
    """What draws the samples of studies."""

    processes: int | None = Field(
        None, ge=1, le=64, description="Processes that do; none for half as many as there are cores, four at most."
    )

    @property
    def number(self) -> int:
        """Where nothing is said the other cores are left to those who answer payloads."""
        return self.processes or max(1, min(4, len(os.sched_getaffinity(0)) // 2))


class RequestsSettings(_Section):
    """Requests."""

    default_lifetime_s: int | None = Field(
        None, gt=0, le=10**9, description="How long one may take that does not say; none for ever, or for the longest."
    )
    max_lifetime_s: int | None = Field(None, gt=0, le=10**9, description="How long one may take; none for ever.")

    @field_validator("max_lifetime_s")
    @classmethod
    def _not_below_the_default(cls, longest: int | None, info: ValidationInfo) -> int | None:
        default = info.data.get("default_lifetime_s")
        if longest is not None and default is not None and default > longest:
            raise ValueError(f"it is below default_lifetime_s, {default}")
        return longest


class KeepSettings(_Section):
    """How long is kept what nobody needs any more."""

    jobs_s: int = Field(7 * 86400, ge=0, description="Folders and logs of jobs, after their processing ended.")
    messages_s: int = Field(
        7 * 86400, ge=3600, description="Messages that were sent, and the identifiers of those that came in."
    )
    orphans_s: int = Field(600, ge=60, description="Rules of this service in data management that it does not know of.")
    tokens_s: int = Field(30 * 86400, ge=0, description="Tokens, after their end.")
    audit_s: int = Field(365 * 86400, ge=0, description="Entries of the audit log.")
    landings_s: int = Field(30 * 86400, ge=86400, description="What landed when, from which tape, how long it took.")


class MetricsSettings(_Section):
    """Metrics of agents that run in processes of their own; the API serves its own at /metrics."""

    host: str = Field("127.0.0.1", description="Address to listen on; whoever reaches it may read them.")
    port: int = Field(0, ge=0, le=65535, description="Port to listen on, another one for each process; 0 for none.")


class LogSettings(_Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least severe to be written.")
    as_json: bool = Field(False, description="One JSON object a line.")


class Settings(BaseSettings):
    """All settings. The defaults make a whole service on one machine, in the state folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", hide_input_in_errors=True
    )

    state: Path = Field(Path("idds-state"), description="Folder of what the service keeps on this machine.")
    store: StoreSettings = StoreSettings(url="")
    api: ApiSettings = ApiSettings()
    access: AccessSettings = AccessSettings()
    bus: BusSettings = BusSettings()
    ddm: PluginSettings = Field(PluginSettings(plugin="posix", options={}), description="Data management.")
    rses: dict[str, RseSettings] = Field({}, description="Disk RSEs with a window, and tape RSEs of tape systems.")
    tapes: dict[str, TapeSettings] = Field({}, description="Tape systems.")
    shares: dict[str, ShareSettings] = Field({}, description="Shares; one that is not named has a weight of one.")
    planning: PlanningSettings = PlanningSettings.model_construct()
    providers: dict[str, PluginSettings] = Field(
        {"local": PluginSettings(plugin="local", options={})}, description="Providers by name."
    )
    stalls: StallsSettings = StallsSettings()
    placement: PlacementSettings = PlacementSettings()
    sampler: SamplerSettings = SamplerSettings(processes=None)
    requests: RequestsSettings = RequestsSettings(default_lifetime_s=None, max_lifetime_s=None)
    keep: KeepSettings = KeepSettings(jobs_s=7 * 86400, messages_s=7 * 86400)
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @property
    def database_url(self) -> str:
        return self.store.url or f"sqlite:///{self.state.absolute() / 'idds.sqlite'}"


def read_settings(file: Path | None, **overrides: Any) -> Settings:
    """The settings of a TOML file (None: the defaults). Raises FileNotFoundError, and InvalidInput with every place."""
    values = {} if file is None else load(file)
    if _holds_password(values):
        message = "a password does not belong in this file: leave it to PGPASSWORD, PGPASSFILE or ~/.pgpass"
        raise InvalidInput([Sources(file).problem(("store", "url"), message)])
    try:
        return Settings(**(values | overrides))
    except ValidationError as error:
        raise Sources(file).refusal(error) from None
    except SettingsError as error:
        raise InvalidInput([Problem("", f"the environment: {error}")]) from None


def _holds_password(values: dict[str, Any]) -> bool:
    store = values.get("store")
    url = store.get("url") if isinstance(store, dict) else None
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        return parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        return False
