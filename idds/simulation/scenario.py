"""What is simulated: libraries, a disk, a network, and the requests that come. Read from TOML."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError

from idds.domain.errors import InvalidInput, Problem

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Name = Annotated[str, MinLen(1)]
Count = Annotated[int, Ge(1)]
Bytes = Annotated[int, Ge(1)]
Seconds = Annotated[float, Ge(0)]
Rate = Annotated[float, Gt(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A tape library. Rates are bytes a second of one drive, times seconds.

    An exchange is the robot putting a cartridge away and bringing another; `locate_s` is winding from one end of a
    cartridge to the other; `file_s` is what each file costs besides its bytes; `streams` is how many cartridges are
    written at once, in turn, `segment_bytes` each time; `of_others` is the part of a cartridge that lies in between and
    is not asked for. A drive that has swept its cartridge takes that of which most is
    wanted, unless one has waited for `patience_s`. No more than `in_flight` recalls are ordered at once by who plans.
    """

    drives: Count
    arms: Count = 1
    exchange_s: Seconds = 15.0
    load_s: Seconds = 40.0
    unload_s: Seconds = 60.0
    locate_s: Seconds = 100.0
    file_s: Seconds = 0.5
    drive_bytes_s: Rate = 300e6
    cartridge_bytes: Bytes = 18_000_000_000_000
    segment_bytes: Bytes = 200_000_000_000
    streams: Count = 8
    of_others: Annotated[float, Ge(0), Lt(1)] = 0.5
    patience_s: Seconds = 4 * 3600.0
    in_flight: Count | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Where files are staged to, over a network. `deletion_s` after its release a file is gone."""

    window_bytes: Bytes
    window_files: Count | None = None
    bytes_s: Rate = 10e9
    deletion_s: Seconds = 30.0

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """`count` alike requests, the first at `arrives_s`, each of the others `every_s` after the one before.

    Each is over a dataset of its own in `library`, or over that of the requests named in `of`, which then says its
    files and its batch too. The size of a file is
    drawn from a lognormal distribution of mean `file_bytes`; `spread` is the sigma of its logarithm. Files are
    processed `batch` at a time, each taking `process_s` (exponentially distributed), by `slots` jobs at once. `order`
    says whether data management tells files as they lie on the tapes, or as they were written, across cartridges.
    """

    name: Name
    library: Name | None = None
    of: Name | None = None
    count: Annotated[int, Ge(1), Le(10_000)] = 1
    files: Count = 1
    file_bytes: Bytes = 2_000_000_000
    spread: Annotated[float, Ge(0), Le(3)] = 0.5
    order: Literal["written", "tape"] = "written"
    batch: Count = 1
    arrives_s: Seconds = 0.0
    every_s: Seconds = 0.0
    slots: Count = 100
    process_s: Seconds = 600.0
    share: str = ""
    priority: int = 0

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of the disk for some requests; an express one goes first. The one without a name has a weight of 1."""

    weight: Rate = 1.0
    is_express: bool = False
    quota_bytes: Bytes | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """How the planner chooses, see `idds.engine.planner.Policy`, and that it waits `every_s` before it plans again.

    What happens meanwhile is planned at once: the longer that is, the less a simulation costs.
    """

    every_s: Seconds = 10.0
    run_files: Count | None = None
    run_bytes: Bytes | None = None
    patience_s: Seconds | None = None
    longest_wait_s: Seconds | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The same scenario with the same seed goes the same way, on every machine."""

    name: Name
    seed: int = 1
    disk: Disk
    libraries: Annotated[dict[Name, Library], MinLen(1)]
    requests: Annotated[list[Requests], MinLen(1)]
    shares: dict[Name, Share] = field(default_factory=dict)
    planning: Planning = field(default_factory=Planning)

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


_ADAPTER = TypeAdapter(Scenario)


def read_scenario(path: Path) -> Scenario:
    """Raises InvalidInput naming every place that is wrong, and OSError where the file cannot be read."""
    return parse_scenario(path.read_text(encoding="utf-8"))


def parse_scenario(text: str) -> Scenario:
    """Raises InvalidInput naming every place that is wrong."""
    try:
        # By way of JSON: there a strict record may be made of a table.
        scenario = _ADAPTER.validate_json(json.dumps(tomllib.loads(text), default=str))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput([Problem("", f"this is not TOML: {error}")]) from None
    except ValidationError as error:
        problems = [Problem(_pointer(each["loc"]), each["msg"]) for each in error.errors(include_input=False)]
        raise InvalidInput(problems) from None
    if problems := [*_misnamed(scenario)]:
        raise InvalidInput(problems)
    return scenario


def _misnamed(scenario: Scenario) -> Sequence[Problem]:
    problems: list[Problem] = []
    names: set[str] = set()
    owners: set[str] = set()
    for number, requests in enumerate(scenario.requests):
        at = f"/requests/{number}"
        if requests.name in names:
            problems.append(Problem(f"{at}/name", f"there are requests {requests.name} already"))
        if (requests.library is None) == (requests.of is None):
            problems.append(Problem(at, "say either library, where the dataset is, or of, whose dataset it is"))
        elif requests.library is not None and requests.library not in scenario.libraries:
            problems.append(Problem(f"{at}/library", f"there is no library {requests.library}"))
        elif requests.of is not None and requests.of not in owners:
            problems.append(Problem(f"{at}/of", f"no requests {requests.of} with datasets of their own stand before"))
        names.add(requests.name)
        if requests.library is not None:
            owners.add(requests.name)
        if requests.share and requests.share not in scenario.shares:
            problems.append(Problem(f"{at}/share", f"there is no share {requests.share}"))
    return problems


def _pointer(place: Sequence[int | str]) -> str:
    return "".join(f"/{key}" for key in place)
