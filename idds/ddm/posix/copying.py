"""Copying bytes, checked on the way. All of this blocks: it belongs in a thread."""

import errno
import fcntl
import io
import os
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from idds.ddm.posix.paths import PART

CHUNK = 1 << 20
STEPS_PER_S = 20
"""How finely a slow copy is cut, so that its speed is even and it can be cancelled."""


NOT_THE_FILE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors on opening that say nothing about the file."""


class Unreadable(Exception):
    """The source cannot be read, or what was read is not what was expected."""


class Cancelled(Exception):
    """The copy was called off; nothing of it is left."""


@dataclass(frozen=True, slots=True)
class Expected:
    """None where a copy is to find out."""

    bytes: int | None = None
    adler32: str | None = None

    def check(self, size: int, adler32: str) -> None:
        """Raises Unreadable."""
        if self.bytes is not None and size != self.bytes:
            raise Unreadable(f"it has {size} bytes where {self.bytes} are expected")
        if self.adler32 is not None and adler32 != self.adler32:
            raise Unreadable(f"its adler32 is {adler32} where {self.adler32} is expected")


@dataclass(frozen=True, slots=True)
class Pace:
    """`bytes_per_s` 0 means as fast as it goes; `delay_s` passes before the first byte."""

    bytes_per_s: float = 0.0
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """A complete, checked copy that has not got its name yet. `seen` is its fingerprint, which the name keeps."""

    path: Path
    bytes: int
    adler32: str
    seen: str

    def publish(self, target: Path) -> None:
        self.path.replace(target)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


def normal_adler32(text: str) -> str:
    """Eight hex digits in lower case, as the catalogue has them."""
    return text.lower().rjust(8, "0")


def fingerprint(stat: os.stat_result) -> str:
    """Changes when somebody writes to the file or puts another one in its place."""
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"


def write_part(
    source: Path | bytes,
    target: Path,
    expected: Expected,
    pace: Pace | None = None,
    cancelled: threading.Event | None = None,
) -> Part:
    """Copy to a part beside `target`. Leaves nothing behind when it raises.

    Raises Unreadable for the source, Cancelled, and OSError for the target.
    """
    pace, cancelled = pace or Pace(), cancelled or threading.Event()
    if cancelled.wait(pace.delay_s):
        raise Cancelled
    with _source(source) as reading:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PART}")
        try:
            with part.open("xb") as writing:
                fcntl.flock(writing, fcntl.LOCK_EX)
                size, adler32 = _copy(reading, writing, pace, cancelled)
                expected.check(size, adler32)
                seen = fingerprint(os.fstat(writing.fileno()))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return Part(part, size, adler32, seen)


def read_checked(path: Path, expected: Expected) -> str:
    """The fingerprint of a file that is as expected. Raises Unreadable."""
    with _source(path) as reading:
        # Taken first: a write during the reading makes it stale rather than unseen.
        stat = os.fstat(reading.fileno())
        if expected.bytes is not None and stat.st_size != expected.bytes:
            raise Unreadable(f"it has {stat.st_size} bytes where {expected.bytes} are expected")
        size, checksum = 0, 1
        for chunk in _chunks(reading, CHUNK):
            size, checksum = size + len(chunk), zlib.adler32(chunk, checksum)
        expected.check(size, f"{checksum:08x}")
        return fingerprint(stat)


@contextmanager
def _source(source: Path | bytes) -> Iterator[io.RawIOBase | io.BytesIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    try:
        file = source.open("rb", buffering=0)
    except OSError as error:
        if error.errno in NOT_THE_FILE:
            raise
        raise Unreadable(str(error.strerror)) from error
    with file:
        yield file


def _chunks(reading: io.RawIOBase | io.BytesIO, size: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = reading.read(size)
        except OSError as error:
            raise Unreadable(str(error.strerror)) from error
        if not chunk:
            return
        yield chunk


def _copy(
    reading: io.RawIOBase | io.BytesIO, writing: BinaryIO, pace: Pace, cancelled: threading.Event
) -> tuple[int, str]:
    size, checksum, start = 0, 1, time.monotonic()
    step = min(CHUNK, max(1, int(pace.bytes_per_s / STEPS_PER_S))) if pace.bytes_per_s else CHUNK
    for chunk in _chunks(reading, step):
        writing.write(chunk)
        writing.flush()
        size, checksum = size + len(chunk), zlib.adler32(chunk, checksum)
        early_s = start + size / pace.bytes_per_s - time.monotonic() if pace.bytes_per_s else 0.0
        if cancelled.wait(early_s) if early_s > 0 else cancelled.is_set():
            raise Cancelled
    return size, f"{checksum:08x}"
