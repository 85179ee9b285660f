"""The window rule: what fits now, later or never. The unit is the group, all of it or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from idds.domain.identifiers import ContentId
from idds.domain.replica import Window


@dataclass(frozen=True, slots=True)
class Wanted:
    """A content and what admitting it costs: nothing where a replica that can be pinned is there already.

    `is_present` says that this replica is on disk, not on its way there; `blocked`, that it is being deleted: the want
    waits until it is gone.
    """

    content_id: ContentId
    name: str
    bytes: int
    is_pinnable: bool = False
    blocked: bool = False
    is_present: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A complete group of contents, none of them admitted."""

    group_no: int
    contents: tuple[Wanted, ...]

    @property
    def bytes(self) -> int:
        return sum(wanted.bytes for wanted in self.contents if not wanted.is_pinnable)

    @property
    def files(self) -> int:
        return sum(not wanted.is_pinnable for wanted in self.contents)

    @property
    def has_landed(self) -> bool:
        """Whether a part of it is on disk: the rest is usually not far."""
        return any(wanted.is_present for wanted in self.contents)


@dataclass(slots=True)
class Room:
    """A limit, and what is taken of it while a plan is made. `name` is how people are told of it.

    `is_shared` by several inputs. One that `yields_to_one` takes a single group that is larger than the limit, if
    nothing else is in it. `kept_for` says for whom what comes free is kept.
    """

    name: str
    limit_bytes: int | None = None
    bytes: int = 0
    limit_files: int | None = None
    files: int = 0
    taken: str = "reserved"
    is_shared: bool = True
    yields_to_one: bool = False
    kept_for: str | None = None

    @classmethod
    def of(cls, window: Window, *, is_shared: bool = True) -> "Room":
        return cls(
            name_of(window),
            window.limit_bytes,
            window.reserved_bytes,
            window.limit_files,
            window.reserved_files,
            is_shared=is_shared,
        )

    def fits(self, size: int, files: int, *, groups: int = 1) -> bool:
        """What costs nothing fits even where an operator shrank the limit below what is taken."""
        if self.yields_to_one and groups == 1 and not self.files:
            return True
        bytes_fit = size == 0 or self.limit_bytes is None or self.bytes + size <= self.limit_bytes
        files_fit = files == 0 or self.limit_files is None or self.files + files <= self.limit_files
        return bytes_fit and files_fit

    def take(self, size: int, files: int) -> None:
        self.bytes += size
        self.files += files

    def why_not(self, size: int, files: int, groups: int) -> str | None:
        """Why so many groups do not go in for now; None where they do."""
        if self.kept_for is not None:
            return f"what comes free of {self.name} is kept for {self.kept_for}"
        if self.fits(size, files, groups=groups):
            return None
        if size and self.limit_bytes is not None and self.bytes + size > self.limit_bytes:
            return f"{self.name} has {self.bytes:,} of {self.limit_bytes:,} bytes {self.taken}, the next takes {size:,}"
        return f"{self.name} has {self.files:,} of {self.limit_files:,} files {self.taken}, the next takes {files:,}"


def name_of(window: Window) -> str:
    """How people are told of a window."""
    match window.kind:
        case "rse":
            return f"the window of RSE {window.ref}"
        case "share":
            return f"the quota of share {window.ref!r}"
        case _:
            return "the window of this input"


def never(group: Candidate, window: Window) -> str | None:
    """Why no state of the window would ever admit a group; None where one would."""
    size, files = sum(wanted.bytes for wanted in group.contents), len(group.contents)
    if window.limit_bytes is not None and size > window.limit_bytes:
        names = ", ".join(wanted.name for wanted in group.contents[:3])
        names += f" and {files - 3} more" if files > 3 else ""
        thing = f"file {names} has" if files == 1 else f"group {group.group_no} ({names}) has"
        return f"{thing} {size} bytes, more than {name_of(window)} holds ({window.limit_bytes} bytes)"
    if window.limit_files is not None and files > window.limit_files:
        return (
            f"group {group.group_no} has {files} files, more than {name_of(window)} holds ({window.limit_files} files)"
        )
    return None


def room(windows: Sequence[Window]) -> int | None:
    """How many more samples may be in flight; None for any number."""
    free = [max(0, window.limit_files - window.reserved_files) for window in windows if window.limit_files is not None]
    return min(free) if free else None
