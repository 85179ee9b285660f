"""The workflow document, as a user writes it and as the service stores it.

These classes are the document's one definition: the door validates against them, the OpenAPI document is made from
them and the SDK builds them. Limits stand as `annotated_types` metadata, which pydantic reads and domain need not.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, MaxLen, MinLen

from idds.domain.course import Iterations, Stop, WarmStart
from idds.domain.space import Expression, Name, Segment, Value
from idds.domain.space import Parameter as Parameter

DidText = Annotated[str, MinLen(3), MaxLen(512)]
ByteCount = Annotated[int, Gt(0), Le(10**18)]
Count = Annotated[int, Gt(0), Le(10**9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLimits:
    """How much may be on disk, or in flight, at once. None means no limit of this sort."""

    bytes: ByteCount | None = None
    files: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a processing runs: a command, never a piece of code for the service itself."""

    argv: Annotated[tuple[Annotated[str, MaxLen(100_000)], ...], Len(1, 1000)]
    environment: Annotated[dict[Name, Annotated[str, MaxLen(100_000)]], MaxLen(1000)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one processing needs. `memory_bytes` is of all its processes together, None for no limit."""

    cores: Annotated[int, Gt(0), Le(1024)] = 1
    memory_bytes: ByteCount | None = None
    walltime_s: Annotated[int, Gt(0), Le(30 * 86400)] = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """A user's own search algorithm: a command that a provider runs each time that points are to be drawn.

    In `argv` stand for what it needs: `%IN` the file that it reads, `{"points": [[point, loss], ...], "opt_space":
    ...}` with a loss of null where there is none; `%OUT` the file that it writes, a list of points, an empty one to end
    the search; `%NUM_POINTS` how many are wanted now, `%MAX_POINTS` in all (as HPO tasks of PanDA have it).
    """

    argv: Annotated[tuple[Annotated[str, MaxLen(100_000)], ...], Len(1, 1000)]
    environment: Annotated[dict[Name, Annotated[str, MaxLen(100_000)]], MaxLen(1000)] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    provider: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refill:
    """Samples are drawn `points` at a time, each time that fewer than `below` of them have not come to an end."""

    points: Annotated[int, Gt(0), Le(100_000)]
    below: Annotated[int, Gt(0), Le(100_000)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruner:
    """By which rule samples are stopped before their end, from what is reported of them on the way."""

    type: Literal["median", "percentile", "halving", "hyperband", "plateau"]
    options: Annotated[dict[Name, int | float], MaxLen(100)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A study: up to `count` points of a search space, produced by a sampler.

    The space is given in our own words (`space` or several `segments`, `fixed`, `constraints`), or as workload managers
    write it, one space or a list of segments (`opt_space`). `directions` has one for each value that is reported of a
    sample; `initial` are points to begin with, of which the sampler chooses what they leave out. `steering` is the
    sampler `command`, which needs no space. Without a `refill` few samples of a sampler that learns are drawn ahead, so
    that each is drawn as late as can be. `result_constraints` is how many
    constraint values are reported of a sample beside those, each 0 or less where the result is feasible. `stop`,
    `iterations` and `warm_start` are its course.
    """

    space: Annotated[dict[Name, Parameter], MaxLen(1000)] = field(default_factory=dict)
    segments: Annotated[tuple[Segment, ...], MaxLen(1000)] = ()
    opt_space: dict[str, Any] | Annotated[tuple[dict[str, Any], ...], Len(1, 1000)] | None = None
    fixed: Annotated[dict[Name, Value], MaxLen(1000)] = field(default_factory=dict)
    constraints: Annotated[tuple[Expression, ...], MaxLen(100)] = ()
    count: Annotated[int, Gt(0), Le(10_000_000)]
    sampler: Name = "tpe"
    options: Annotated[dict[Name, int | float], MaxLen(100)] = field(default_factory=dict)
    directions: Annotated[tuple[Literal["minimize", "maximize"], ...], Len(1, 10)] = ("minimize",)
    initial: Annotated[tuple[dict[Name, Value], ...], MaxLen(10_000)] = ()
    seed: Annotated[int, Ge(0), Le(2**53)] = 0
    pruner: Pruner | None = None
    result_constraints: Annotated[int, Ge(0), Le(100)] = 0
    refill: Refill | None = None
    steering: Steering | None = None
    stop: Stop | None = None
    iterations: Iterations | None = None
    warm_start: WarmStart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Files are cut into ranges of at most `events` events each, the finest grain that is delivered.

    How many events a file has is known to the data management; or, of the files of work `counted_by`'s input, told by
    that work when it reports each file.
    """

    events: Annotated[int, Gt(0), Le(10**9)]
    counted_by: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A collection that callers fill while it is open, and close.

    With `stage`, or where the input names an `rse`, what is registered are files to be staged there; otherwise it is
    available at once.
    """

    stage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where a work's contents come from: exactly one of `dataset`, `outputs`, `samples` and `registered`.

    `batch` contents are admitted, processed and given back together; "all" makes one batch of everything. With
    `ranges` a batch counts files: all ranges of its files belong to it.
    `rse` is the disk that files are staged to; None takes the service's default. A `rule` is one that data management
    has already, of somebody else: where it brings the dataset to, there its files are awaited.
    """

    dataset: DidText | None = None
    outputs: Name | None = None
    samples: Samples | None = None
    ranges: Ranges | None = None
    registered: Registered | None = None
    rse: Name | None = None
    rule: Name | None = None
    window: WindowLimits = field(default_factory=WindowLimits)
    batch: Annotated[int, Gt(0), Le(100_000)] | Literal["all"] = 1

    @property
    def is_staged(self) -> bool:
        """Whether its contents are files to be brought to a disk, through a window."""
        stages = self.registered is not None and (self.registered.stage or self.rse is not None)
        return stages or self.dataset is not None

    @property
    def feeder(self) -> str | None:
        """The work that these contents come from while it runs: as its outputs, or as files that it counts."""
        return self.outputs or (self.ranges.counted_by if self.ranges else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where outputs are registered: a dataset, and the RSE its files go to (None: the service's default)."""

    dataset: DidText
    rse: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A step of the workflow.

    With a `payload` its contents are delivered to processings on a provider; without one they are announced and
    leased by consumers outside. A lease or a processing that fails is tried `attempts` times in all.
    """

    name: Name
    after: Annotated[tuple[Name, ...], MaxLen(10_000)] = ()
    input: Input | None = None
    payload: Payload | None = None
    output: Output | None = None
    resources: Resources = field(default_factory=Resources)
    provider: Name | None = None
    attempts: Annotated[int, Gt(0), Le(100)] = 3

    @property
    def samples(self) -> Samples | None:
        """The study that it takes, if it takes one."""
        return self.input.samples if self.input is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """Works and their dependencies, as submitted with a request."""

    name: Name
    works: Annotated[tuple[Work, ...], Len(1, 10_000)]
    version: Literal[1] = 1

    def work(self, name: str) -> Work:
        """The work of this name. Raises KeyError when there is none."""
        for work in self.works:
            if work.name == name:
                return work
        raise KeyError(name)
