"""What is (`status`) and what was ordered (`intent`), noun by noun."""

from enum import StrEnum


class Status(StrEnum):
    """Of a request, a transform and a processing."""

    NEW = "new"
    READY = "ready"
    RUNNING = "running"
    SUSPENDED = "suspended"
    FINISHED = "finished"
    SUBFINISHED = "subfinished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({Status.FINISHED, Status.SUBFINISHED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})


class Intent(StrEnum):
    """What was ordered. It is obeyed by moving the status; it is not a status itself."""

    RUN = "run"
    SUSPEND = "suspend"
    CANCEL = "cancel"
    FINISH = "finish"
    EXPIRE = "expire"
    """Ordered by the clock: its time is over."""

    @property
    def is_ending(self) -> bool:
        """Nothing is begun or delivered any more, until what has ended is retried."""
        return self not in (Intent.RUN, Intent.SUSPEND)


class ContentStatus(StrEnum):
    NEW = "new"
    AVAILABLE = "available"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    MISSING = "missing"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in CONTENT_TERMINAL


CONTENT_TERMINAL = frozenset({ContentStatus.DONE, ContentStatus.FAILED, ContentStatus.MISSING, ContentStatus.CANCELLED})


class ReplicaStatus(StrEnum):
    """Of a file on a disk RSE. A file that is wanted but not admitted has no replica: it is a `new` content."""

    ADMITTED = "admitted"
    STAGING = "staging"
    PRESENT = "present"
    DELETING = "deleting"
    GONE = "gone"


class JobStatus(StrEnum):
    """What a provider says of one of its jobs. A job it does not know is `lost`, never finished."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"
    LOST = "lost"

    @property
    def is_terminal(self) -> bool:
        return self in JOB_TERMINAL


JOB_TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.LOST})


class Blame(StrEnum):
    """Whose fault a failure is; it decides whether trying again makes sense elsewhere."""

    USER = "user"
    SITE = "site"
    RESOURCE = "resource"


class EffectKind(StrEnum):
    """What is to be done outside, recorded before it is done."""

    LIST = "list"
    STAGE = "stage"
    RELEASE = "release"
    BOOST = "boost"
    SUBMIT = "submit"
    CANCEL = "cancel"
    ASK = "ask"
    STEER = "steer"


class Relation(StrEnum):
    INPUT = "input"
    OUTPUT = "output"


class SourceKind(StrEnum):
    """What produces the contents of an input collection."""

    DATASET = "dataset"
    OUTPUTS = "outputs"
    COUNTED = "counted"
    """The input of another work, whose files it counts the events of."""
    SAMPLES = "samples"
    REGISTERED = "registered"
