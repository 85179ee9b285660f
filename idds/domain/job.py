"""A job: the provider's own entity behind a processing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from idds.domain.identifiers import Handle
from idds.domain.statuses import Blame, JobStatus
from idds.domain.workflow import Payload, Resources


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a provider is asked to run.

    The job runs `payload.argv` in a folder of its own that holds `input.json` (the JSON document `document`); there
    it may leave `output.json`, and outputs in the folder `outputs`.
    """

    key: str
    payload: Payload
    resources: Resources
    document: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Submitted:
    handle: Handle


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider will not run this. `transient` says that it may, later."""

    reason: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Sent, and the reply lost: `find` tells."""

    reason: str


Submission = Submitted | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class JobState:
    """What a provider says of a job at `observed_at` (microseconds UTC).

    `usage` holds what was measured, by name: `wall_s`, `cpu_s`, `max_rss_bytes`; what is not known is not there.
    """

    status: JobStatus
    observed_at: int
    native: str
    exit_code: int | None = None
    blame: Blame | None = None
    reason: str | None = None
    usage: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capacity:
    """None means unknown, never zero."""

    healthy: bool
    slots_total: int | None
    slots_free: int | None
    queued: int | None
    observed_at: int
    queues: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    amount: float
    unit: str
    basis: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`min_poll_interval` is in microseconds; `shared_fs`: paths of this machine hold inside a job, and back."""

    min_poll_interval: int
    max_batch: int
    shared_fs: bool
    durable_across_restart: bool
    cancel_running: bool
    payloads: frozenset[str] = frozenset({"argv"})


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes of a stream from an offset. `eof` says that no more will come."""

    bytes: bytes
    next_offset: int
    eof: bool
