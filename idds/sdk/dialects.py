"""How a command is given contents, and tells what came of them: by files.

`Jobs` speaks the formats of `idds.sdk.payload`; `idds.sdk.points` has a simpler one, for one sample at a time.
"""

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from idds.domain.content import Outcome
from idds.sdk.reading import Unreadable, read
from idds.sdk.views import LeasedContent

READ_AT_ONCE = 2**22
MAX_OUTPUT_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Told:
    """What a payload says came of a content."""

    id: int
    status: Literal["done", "failed"]
    reason: str | None = None
    retry: bool = True
    objective_values: tuple[float, ...] = ()
    events: int | None = None
    constraint_values: tuple[float, ...] = ()

    def outcome(self, content: LeasedContent) -> Outcome:
        """To be reported of this content."""
        if self.status == "done":
            values, constraints = self.objective_values, self.constraint_values
            return content.done(*values, constraint_values=constraints, events=self.events)
        return content.failed(self.reason or "the payload gave no reason", retry=self.retry)


@dataclass(frozen=True, slots=True)
class Along:
    """What a payload says a sample is on its way, at a step."""

    id: int
    step: int
    value: float


class Lines:
    """A file that a command appends lines of JSON to, read while it does. A line that is none is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0

    def new(self) -> Iterator[Any]:
        """Those that have become whole since the last look."""
        try:
            with _open(self._path) as file:
                file.seek(self._read_to)
                block = file.read(READ_AT_ONCE)
        except OSError:
            return
        whole = block[: block.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            with suppress(ValueError, RecursionError):
                yield json.loads(line)


class Run(Protocol):
    """One run of a command on contents, as far as files go. Its methods do I/O: they are called in threads."""

    @property
    def folder(self) -> Path:
        """Where the command runs, once it is open."""

    def open(self) -> Mapping[str, str]:
        """Write what the command reads; what its environment is to tell it."""

    def news(self) -> Sequence[Told | Along]:
        """What it has told since the last look."""

    def conclusion(self) -> Sequence[Told]:
        """What it has told at its end. Raises ValueError, with the place, where that is not as it should be."""

    def silence(self, content: int) -> Told:
        """What it means where a command has ended well, and told nothing of a content."""

    def is_resumable(self) -> bool:
        """Whether what it was at can be gone on with where it was ended."""

    def close(self, finished: frozenset[int]) -> None:
        """Remove what nobody needs any more; these contents have come to their end."""


class Dialect(Protocol):
    """What a pilot and its command have agreed upon."""

    @property
    def is_resumable(self) -> bool:
        """Whether a run that is ended may be gone on with later: then none is too long to be begun."""

    def begin(self, contents: Sequence[LeasedContent]) -> Run:
        """A run on these contents."""


class Jobs:
    """Each run in a folder below `scratch` (None: where temporary files go), which is removed afterwards."""

    is_resumable = False

    def __init__(self, scratch: Path | None = None) -> None:
        self._scratch = scratch

    def begin(self, contents: Sequence[LeasedContent]) -> Run:
        return _Job(self._scratch, contents)


class _Job:
    def __init__(self, scratch: Path | None, contents: Sequence[LeasedContent]) -> None:
        self._scratch = scratch
        self._contents = contents
        self._folder: Path | None = None
        self._lines: Lines | None = None

    @property
    def folder(self) -> Path:
        assert self._folder is not None, "it is not open"
        return self._folder

    def open(self) -> Mapping[str, str]:
        self._folder = Path(tempfile.mkdtemp(prefix="idds-pilot-", dir=self._scratch))
        self._lines = Lines(self.folder / "outcomes.ndjson")
        (self.folder / "outputs").mkdir()
        (self.folder / "input.json").write_text(json.dumps(_document(self._contents)), encoding="utf-8")
        return {
            "IDDS_INPUT": str(self.folder / "input.json"),
            "IDDS_OUTPUT": str(self.folder / "output.json"),
            "IDDS_OUTCOMES": str(self.folder / "outcomes.ndjson"),
        }

    def news(self) -> Sequence[Told | Along]:
        assert self._lines is not None
        return list(_told(self._lines.new()))

    def conclusion(self) -> Sequence[Told]:
        document = read_output(self.folder / "output.json")
        if document is None:
            return []
        contents = document.get("contents", []) if isinstance(document, dict) else None
        try:
            return list(read(tuple[Told, ...], contents, "/contents"))
        except Unreadable as error:
            raise ValueError(f"output.json: {error}") from None

    def silence(self, content: int) -> Told:
        return Told(content, "done")

    def is_resumable(self) -> bool:
        return False

    def close(self, finished: frozenset[int]) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def read_output(path: Path) -> Any:
    """What a command has written there; None where it wrote nothing. Raises ValueError."""
    try:
        with _open(path) as file:
            content = file.read(MAX_OUTPUT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"output.json: {error.strerror}") from None
    if len(content) > MAX_OUTPUT_BYTES:
        raise ValueError(f"output.json: it is larger than {MAX_OUTPUT_BYTES} bytes")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("output.json: it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"output.json: {error}") from None


def _open(path: Path) -> BinaryIO:
    """A file as a command left it. Raises OSError, also for what is none: a pipe would block who reads it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file")
    return os.fdopen(descriptor, "rb")


def _told(documents: Iterable[Any]) -> Iterator[Told | Along]:
    for document in documents:
        with suppress(Unreadable):
            is_on_its_way = isinstance(document, dict) and "step" in document
            yield read(Along, document) if is_on_its_way else read(Told, document)


def _document(contents: Sequence[LeasedContent]) -> dict[str, Any]:
    described = [{k: v for k, v in asdict(content).items() if k != "lease_until"} for content in contents]
    return {"processing": None, "attempt": 1, "contents": described, "outputs": "outputs"}
