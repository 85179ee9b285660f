"""A job's folder: all that is known of the job stands there, so that a service that died can be followed by another.

spec.json    what to run; the folder appears complete, so this is always there
input.json   the document of the payload; what it says back is output.json and outputs/
started      made by who may decide that the job runs, or never will: once
order.json   that the provider ends the job, and why: written before the first signal
exit         the command's exit code, and what the shell says of CPU time
ended.json   the final state
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from idds.domain.job import JobSpec, JobState
from idds.domain.statuses import Blame, JobStatus
from idds.domain.workflow import Payload, Resources
from idds.providers.local.process import Identity

T = TypeVar("T")

NEVER = "never"
"""What `started` says of a job that was cancelled before it ran."""


class Cause(StrEnum):
    CANCEL = "cancel"
    WALLTIME = "walltime"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Order:
    """The provider ends the job."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The job was started by the wrapper `identity`; None when it never will be. Microseconds UTC."""

    identity: Identity | None
    at: int


@dataclass(frozen=True, slots=True)
class Exit:
    """The wrapper saw the command end. `cpu_s` is to a hundredth; microseconds UTC."""

    code: int
    cpu_s: float | None
    at: int


@dataclass(frozen=True, slots=True)
class Traces:
    """What stands in the folder of how the job went; None for what does not, or cannot be read."""

    claim: Claim | None
    order: Order | None
    exit: Exit | None
    ended: JobState | None


class Folder:
    """Every method touches the disk: not for the event loop."""

    def __init__(self, root: Path, key: str) -> None:
        self.path = root / key

    @property
    def key(self) -> str:
        return self.path.name

    def create(self, spec: JobSpec, document: bytes, number: int) -> bool:
        """Make the folder, complete or not at all. False when there is one of this key already. Raises OSError."""
        if self.path.exists():
            return False
        draft = self.path.with_name(f".new-{self.key}-{uuid.uuid4().hex}")
        try:
            for path in (draft, draft / "outputs", draft / "tmp"):
                path.mkdir(mode=0o700)
            _write(draft / "spec.json", _spec_to_json(spec, number))
            _write(draft / "input.json", document)
            draft.rename(self.path)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        return True

    def spec(self) -> tuple[JobSpec, int] | None:
        """What `create` was given, without the document; None when it cannot be read."""
        return _read(self.path / "spec.json", _spec_from_json)

    def claim(self) -> bool:
        """Decide that the job will never run. False when it was decided already. Raises OSError."""
        try:
            (self.path / "started").symlink_to(NEVER)
        except FileExistsError:
            return False
        return True

    def record_order(self, order: Order) -> None:
        """Raises OSError."""
        self._replace("order.json", json.dumps(asdict(order)).encode())

    def record_end(self, state: JobState) -> None:
        """Raises OSError."""
        self._replace("ended.json", json.dumps(asdict(state)).encode())

    def _replace(self, name: str, content: bytes) -> None:
        draft = self.path / f".{name}-{uuid.uuid4().hex}"
        _write(draft, content)
        draft.replace(self.path / name)

    def has_exit(self) -> bool:
        return (self.path / "exit").exists()

    def ended(self) -> JobState | None:
        return _read(self.path / "ended.json", _state_from_json)

    def traces(self) -> Traces:
        return Traces(
            _read_claim(self.path / "started"),
            _read(self.path / "order.json", _order_from_json),
            _read_exit(self.path / "exit"),
            self.ended(),
        )

    def forget(self) -> None:
        """Raises OSError. A folder that is not there is no error."""
        dying = self.path.with_name(f".old-{self.key}-{uuid.uuid4().hex}")
        try:
            self.path.rename(dying)
        except FileNotFoundError:
            return
        remove(dying)


def leftovers(root: Path) -> list[Path]:
    """What a service that died was making or removing."""
    return [path for path in root.iterdir() if path.name.startswith((".new-", ".old-"))]


def remove(path: Path) -> None:
    """Remove a folder with all in it, also what the payload made read-only. Raises OSError."""
    path.chmod(0o700)
    for folder, inner, _ in os.walk(path):
        for name in inner:
            if not Path(folder, name).is_symlink():
                Path(folder, name).chmod(0o700)
    shutil.rmtree(path)


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def _read(path: Path, parse: Callable[[Any], T]) -> T | None:
    try:
        return parse(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _spec_to_json(spec: JobSpec, number: int) -> bytes:
    return json.dumps(
        {"key": spec.key, "number": number, "payload": asdict(spec.payload), "resources": asdict(spec.resources)}
    ).encode()


def _spec_from_json(json_spec: Any) -> tuple[JobSpec, int]:
    payload = Payload(argv=tuple(json_spec["payload"]["argv"]), environment=json_spec["payload"]["environment"])
    return JobSpec(json_spec["key"], payload, Resources(**json_spec["resources"]), {}), json_spec["number"]


def _order_from_json(order: Any) -> Order:
    return Order(Cause(order["cause"]), order["reason"])


def _state_from_json(state: Any) -> JobState:
    blame = Blame(state["blame"]) if state["blame"] else None
    return JobState(**(state | {"status": JobStatus(state["status"]), "blame": blame}))


def _read_claim(path: Path) -> Claim | None:
    try:
        target, at = str(path.readlink()), path.lstat().st_mtime_ns // 1000
    except OSError:
        return None
    try:
        return Claim(Identity.parse(target), at)
    except ValueError:
        return Claim(None, at)


def _read_exit(path: Path) -> Exit | None:
    try:
        code, *times = path.read_text().splitlines()
        return Exit(int(code), _cpu_s(times), path.stat().st_mtime_ns // 1000)
    except (OSError, ValueError):
        return None


def _cpu_s(times: list[str]) -> float | None:
    """The second line of what `times` of POSIX shells prints: user and system time of the children, as 1m2.5s."""
    try:
        parts = [word.rstrip("s").split("m") for word in times[1].split()]
        return sum(int(minutes) * 60 + float(seconds) for minutes, seconds in parts)
    except (IndexError, ValueError):
        return None
