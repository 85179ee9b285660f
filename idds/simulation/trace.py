"""What was seen of a staging as it was done: when each file came to the disk, and when it went."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import Did


@dataclass(frozen=True, slots=True)
class Look:
    """What had come, with its bytes, and gone since the look before, at a time (microseconds)."""

    at: int
    came: Mapping[Did, int]
    went: tuple[Did, ...] = ()

    @property
    def is_news(self) -> bool:
        return bool(self.came or self.went)

    def line(self) -> str:
        """As a line of JSON."""
        came = [[str(did), size] for did, size in self.came.items()]
        document = {"at": self.at, "came": came, "went": [str(did) for did in self.went]}
        return json.dumps(document, separators=(",", ":")) + "\n"

    @classmethod
    def parse(cls, line: str) -> "Look":
        """Raises ValueError for what is no line of a look."""
        try:
            document = json.loads(line)
            came = {Did.parse(did): int(size) for did, size in document["came"]}
            return cls(int(document["at"]), came, tuple(map(Did.parse, document["went"])))
        except (TypeError, KeyError, AttributeError):
            raise ValueError("this is no look") from None


@dataclass(frozen=True, slots=True)
class Landing:
    """A file that was seen on the disk at `at` (microseconds) for the first time."""

    at: int
    did: Did
    bytes: int


@dataclass(slots=True)
class Trace:
    """Of some datasets on one RSE, look by look. What was there at the first look came `before`: nobody knows when.

    `used_bytes` is the most that was on disk at once.
    """

    began_at: int | None = None
    last_at: int = 0
    before: int = 0
    landings: list[Landing] = field(default_factory=list)
    present: dict[Did, int] = field(default_factory=dict)
    used_bytes: int = 0
    _seen: set[Did] = field(default_factory=set)
    _now_bytes: int = 0

    def look(self, at: int, present: Mapping[Did, int]) -> Look:
        """How what is there now differs from what was there."""
        came = {did: size for did, size in sorted(present.items()) if did not in self.present}
        return Look(at, came, tuple(did for did in self.present if did not in present))

    def add(self, look: Look) -> None:
        """In the order of time. A file that comes again was seen already, and counts as bytes only."""
        if self.began_at is None:
            self.began_at, self.before = look.at, len(look.came)
        else:
            self.landings.extend(
                Landing(look.at, did, size) for did, size in look.came.items() if did not in self._seen
            )
        self._seen.update(look.came)
        for did in look.went:
            self._now_bytes -= self.present.pop(did, 0)
        for did, size in look.came.items():
            self._now_bytes += size - self.present.get(did, 0)
            self.present[did] = size
        self.used_bytes = max(self.used_bytes, self._now_bytes)
        self.last_at = look.at

    @property
    def seen(self) -> int:
        """Files that were on the disk at one time or another."""
        return len(self._seen)

    @property
    def seconds(self) -> float:
        """From the first look to the last landing."""
        return (self.landings[-1].at - (self.began_at or 0)) / 1e6 if self.landings else 0.0


def read_trace(lines: Iterable[str]) -> Trace:
    """Raises InvalidInput naming the first line that is none. A last one that was cut off in writing is left out."""
    trace = Trace()
    for number, line in enumerate(lines):
        if not line.endswith("\n"):
            break
        try:
            trace.add(Look.parse(line))
        except ValueError:
            raise InvalidInput([Problem(f"/{number}", "this is no line of a trace")]) from None
    return trace
