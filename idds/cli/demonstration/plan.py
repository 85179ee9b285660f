"""The folder of a demo, and the plan of the run in it."""

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from idds.cli.demonstration.record import Record
from idds.domain.errors import Conflict, InvalidInput, Problem, Unavailable
from idds.runtime.lock import hold

PLAN = "demo.json"
SUMMARY = "summary.json"
LOCK = "demo.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does, and all the runs that go on with it after a kill.

    `key` is the Idempotency-Key under which `workflow`, a workflow document, is submitted. `tuning` is that of the
    second part: the studies, of `samples` each; None where there is none.
    """

    key: str
    files: int
    bytes: int
    window_bytes: int
    recall_s: float
    workflow: Mapping[str, Any]
    samples: int = 0
    tuning: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """Everything of a demo, in one place."""

    path: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only demo in this folder.

        Raises Conflict when another one is, and InvalidInput for a folder that is not a demo's.
        """
        self._check()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with hold(str(self.path / LOCK)):
                yield
        except Unavailable as error:
            raise Conflict(f"a demo runs in {self.path}: stop that one first") from error

    def _check(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InvalidInput([Problem("/directory", f"{self.path} is not a folder")])
        if self.path.is_dir():
            found = {entry.name for entry in self.path.iterdir()} - {LOCK}
            if found and PLAN not in found:
                reason = f"{self.path} holds something else than a demo: name another folder, or one that is not there"
                raise InvalidInput([Problem("/directory", reason)])

    def unfinished(self) -> Plan | None:
        """The plan of a run that did not come to its end."""
        plan = self.path / PLAN
        if not plan.exists() or (self.path / SUMMARY).exists():
            return None
        return Plan(**json.loads(plan.read_text(encoding="utf-8")))

    def begin(self, plan: Plan) -> None:
        """Wipe what a finished run left, and write down the new plan.

        Killed at any point it leaves a finished run, or an old plan with nothing done, or the new one.
        """
        keep = {PLAN, SUMMARY, LOCK}
        for entry in self.path.iterdir():
            if entry.name not in keep:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (self.path / SUMMARY).unlink(missing_ok=True)
        self._write(PLAN, asdict(plan))

    def end(self, summary: Mapping[str, Any]) -> None:
        """The run came to its end: the next one starts afresh."""
        self._write(SUMMARY, summary)

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        draft = self.path / f".{name}.{uuid.uuid4().hex}"
        draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
        draft.replace(self.path / name)

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def disk(self) -> Path:
        return self.state / "rses" / "DISK"

    @property
    def picture(self) -> Path:
        return self.path / "demo.png"

    @property
    def tuning_picture(self) -> Path:
        return self.path / "study.png"

    @property
    def payload_log(self) -> Path:
        return self.path / "payloads.log"

    @property
    def log(self) -> Path:
        return self.path / "service.log"

    @property
    def tape_written(self) -> Path:
        return self.path / "tape-written"

    @property
    def runs(self) -> Record:
        return Record(self.path / "runs.jsonl")

    @property
    def looks(self) -> Record:
        return Record(self.path / "disk.jsonl")

    @property
    def announcements(self) -> Record:
        return Record(self.path / "announcements.jsonl")
