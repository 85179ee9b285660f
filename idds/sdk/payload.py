"""What a payload written in Python uses inside its job. Standard library only.

    from idds.sdk import payload

    with payload.job() as job:
        for content in job:
            with job.processing(content):
                events = count(content.path)
                job.output(f"{content.name}.json").write_text(json.dumps(events))

With a sample it is `with job.processing(content) as sample:` and `sample.report(loss)`; with a file whose events are
counted, `with job.processing(content) as file:` and `file.count(events)`.
An exception within `job.processing` fails that content alone, and the job goes on; one outside it breaks the job:
what was reported until then stands, and the exception goes on, so that the job's exit code says it too.

The service and a payload, in whatever language, speak by two JSON documents. `input.json`, which the environment
variable IDDS_INPUT names, is written by the service:

    {
      "processing": 12 or null,         the id of the processing; null where a pilot runs it
      "attempt": 1,                     its attempt, from 1
      "contents": [{
        "id": 7,
        "attempt": 1,                   the content's own attempt
        "scope": "mc", "name": "f1",    its DID
        "path": "/disk/f1" or null,     where to open it; null for a sample
        "bytes": 123,
        "adler32": "0a1b2c3d" or null,
        "min_id": 0, "max_id": 0,       the range of events, both 0 for a whole file
        "parameters": {...} or null     of a sample
      }],
      "outputs": "outputs"              the folder for output files, relative to that of input.json
    }

`output.json`, which IDDS_OUTPUT names, is written by the payload, at once and complete (to another name, then renamed):

    {
      "contents": [{
        "id": 7,
        "status": "done" or "failed",
        "reason": "...",                why it failed; may be left out
        "retry": true,                  false when trying again is pointless; may be left out, meaning true
        "objective_values": [0.5],      of a sample that is done; may be left out
        "constraint_values": [-1.0],    of one whose study has constraints on results; may be left out
        "events": 1000                  of a file that is done, how many it has; may be left out
      }],
      "outputs": [{
        "name": "f1.json",              relative to the folder of outputs
        "bytes": 123,
        "adler32": "0a1b2c3d"           eight hex digits
      }],
      "message": "..." or null          for people
    }

A content that is not in `contents` was not reported on: it shares the fate of the job.

A pilot (`idds pilot`) also reads `outcomes.ndjson`, which IDDS_OUTCOMES names, while the payload runs: lines, each one
an element of `contents`, appended as soon as it is known. What stands there is reported at once. Outputs are not taken
by a pilot: its payload puts them where they belong.
"""

import json
import math
import os
import sys
import traceback
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Literal

MAX_REASON = 500
BLOCK = 2**20


class Unprocessable(Exception):
    """Raised within `Job.processing`: this content cannot be processed, now or later, and need not be tried again."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file (`min_id` = `max_id` = 0), a range of its events, or a sample, which has `parameters` and no `path`."""

    id: int
    attempt: int
    scope: str
    name: str
    path: str | None
    bytes: int
    adler32: str | None
    min_id: int
    max_id: int
    parameters: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Output:
    """A file of the folder of outputs."""

    name: str
    bytes: int
    adler32: str


class Job:
    """The job this payload runs in: iterating it gives its contents; at the end of its `with` block it reports.

    `message` is for people; an exception that breaks the job stands there unless the payload wrote something.
    """

    def __init__(self, document: Mapping[str, Any], folder: Path, report: Path, outcomes: Path | None = None) -> None:
        self.processing_id: int | None = document["processing"]
        self.attempt: int = document["attempt"]
        self.contents = tuple(
            Content(**{name: content[name] for name in Content.__slots__}) for content in document["contents"]
        )
        self.message: str | None = None
        self._folder: Path = folder / document["outputs"]
        self._report = report
        self._outcomes = Outcomes(outcomes)
        self._outputs: dict[str, Path] = {}

    def __iter__(self) -> Iterator[Content]:
        return iter(self.contents)

    def __len__(self) -> int:
        return len(self.contents)

    def processing(self, *contents: Content) -> "Processing":
        """A `with` block in which these contents are processed: all are done at its end, or failed by an exception."""
        return Processing(self._outcomes, contents)

    def output(self, name: str) -> Path:
        """Where to write output `name`, a relative path; what is there when the job ends is reported.

        Raises ValueError for a name that leads outside.
        """
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in name:
            raise ValueError(f"{name!r} is no name of an output")
        path = self._folder / pure
        self._outputs[str(pure)] = path
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def __enter__(self) -> "Job":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if isinstance(error, Exception) and self.message is None:
            self.message = _reason(error)
        self._write()
        return False

    def _write(self) -> None:
        report = {
            "contents": self._outcomes.all(),
            "outputs": [asdict(_measure(name, path)) for name, path in self._outputs.items() if path.is_file()],
            "message": self.message,
        }
        draft = self._report.with_name(f".{self._report.name}.{os.getpid()}")
        draft.write_text(json.dumps(report), encoding="utf-8")
        draft.replace(self._report)


class Outcomes:
    """What came of each content; told at once to whoever reads the file, if there is one."""

    def __init__(self, told_to: Path | None) -> None:
        self._told_to = told_to
        self._by_content: dict[int, dict[str, Any]] = {}

    def note(self, contents: tuple[Content, ...], outcome: Mapping[str, Any]) -> None:
        noted = [{"id": content.id, **outcome} for content in contents]
        self._by_content.update((each["id"], each) for each in noted)
        if self._told_to is not None:
            with self._told_to.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(each) + "\n" for each in noted))

    def all(self) -> list[dict[str, Any]]:
        return list(self._by_content.values())


class Processing:
    """The `with` block of `Job.processing`."""

    def __init__(self, outcomes: Outcomes, contents: tuple[Content, ...]) -> None:
        self._objective_values: tuple[float, ...] = ()
        self._constraint_values: tuple[float, ...] = ()
        self._events: int | None = None
        self._outcomes = outcomes
        self._contents = contents

    def report(self, *objective_values: float, constraints: Sequence[float] = ()) -> None:
        """What came out for a sample; `constraints` are each 0 or less where that is feasible.

        Raises Unprocessable for what is not finite.
        """
        values, constrained = tuple(map(float, objective_values)), tuple(map(float, constraints))
        if odd := [value for value in (*values, *constrained) if not math.isfinite(value)]:
            raise Unprocessable(f"a value that came out is {odd[0]}")
        self._objective_values, self._constraint_values = values, constrained

    def count(self, events: int) -> None:
        """How many events a file has, for a work that takes ranges of them. Raises ValueError for a negative number."""
        if events < 0:
            raise ValueError(f"a file has no {events} events")
        self._events = int(events)

    def __enter__(self) -> "Processing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        outcome: dict[str, Any]
        if error is None:
            outcome = {"status": "done"}
            if self._objective_values:
                outcome["objective_values"] = self._objective_values
            if self._constraint_values:
                outcome["constraint_values"] = self._constraint_values
            if self._events is not None:
                outcome["events"] = self._events
        else:
            traceback.print_exception(error, file=sys.stderr)
            outcome = {
                "status": "failed",
                "reason": _reason(error),
                "retry": not isinstance(error, Unprocessable),
            }
        self._outcomes.note(self._contents, outcome)
        return True


def job() -> Job:
    """The job of this process. Raises OSError, ValueError or KeyError when it is in none, or input.json is no good."""
    source = Path(os.environ.get("IDDS_INPUT", "input.json")).absolute()
    report = Path(os.environ.get("IDDS_OUTPUT", "output.json")).absolute()
    outcomes = os.environ.get("IDDS_OUTCOMES")
    document = json.loads(source.read_text(encoding="utf-8"))
    return Job(document, source.parent, report, Path(outcomes).absolute() if outcomes else None)


def _reason(error: BaseException) -> str:
    """As the last line of a traceback has it, short; the message alone where the payload said what it means."""
    text = str(error) if isinstance(error, Unprocessable) and str(error) else _one_line(error)
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def _one_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _measure(name: str, path: Path) -> Output:
    size, checksum = 0, 1
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            size += len(block)
            checksum = zlib.adler32(block, checksum)
    return Output(name, size, f"{checksum:08x}")
