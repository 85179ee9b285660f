"""What a payload leaves in its folder. It owns the folder, so nothing in it is trusted."""

import os
import stat
from pathlib import Path

from idds.domain.errors import InvalidInput, NotFound, Problem

STREAMS = frozenset({"stdout", "stderr"})
MAX_RESULT_BYTES = 16 * 2**20
MAX_REASON = 500
REASON_LINES = 5


def result(folder: Path) -> bytes | None:
    """The bytes of output.json. Raises InvalidInput when it is no file or too big."""
    descriptor = _open(folder / "output.json")
    if descriptor is None:
        if os.path.lexists(folder / "output.json"):
            raise InvalidInput([Problem("", "output.json is not a regular file")])
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_RESULT_BYTES + 1)
    if len(content) > MAX_RESULT_BYTES:
        raise InvalidInput([Problem("", f"output.json is larger than {MAX_RESULT_BYTES} bytes")])
    return content


def output_path(folder: Path, name: str) -> str:
    """Raises NotFound."""
    try:
        outputs = folder.resolve(strict=True) / "outputs"
        path = (outputs / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise NotFound(f"no output {name!r}") from None
    # Compared with what `outputs` must be, and not with where it leads: it may be a link by now.
    if not (path.is_relative_to(outputs) and path.is_file()):
        raise NotFound(f"no output {name!r}")
    return str(path)


def read_stream(folder: Path, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
    """Bytes from `offset` (from the end when negative), where they end, and whether the file ends there too."""
    descriptor = _open(folder / stream)
    if descriptor is None:
        return b"", max(offset, 0), True
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        start = max(0, size + offset) if offset < 0 else offset
        file.seek(start)
        content = file.read(limit)
    end = start + len(content)
    return content, end, end >= size


def last_words(folder: Path) -> str:
    """The last lines of stderr, fit to stand in a reason."""
    content, _, _ = read_stream(folder, "stderr", -4 * MAX_REASON, 4 * MAX_REASON)
    lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
    text = "\n".join(lines[-REASON_LINES:])
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)[-MAX_REASON:]


def _open(path: Path) -> int | None:
    """A descriptor of a regular file, None when it is none. A pipe would block who reads it, a link leads anywhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor
