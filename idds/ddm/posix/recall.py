"""A recall under way: bringing one file to one disk."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from idds.ddm.posix.datasets import TapeCopy
from idds.ddm.posix.rules import Order
from idds.domain.files import File


@dataclass(frozen=True, slots=True)
class DiskCopy:
    """The file as it lies on another disk RSE."""

    rse: str

    def __str__(self) -> str:
        return self.rse


Source = TapeCopy | DiskCopy


@dataclass(slots=True, eq=False)
class Recall:
    """Its sources are tried in turn; `failures` says what came of them. `deletion` waits until no bytes move."""

    rule_id: str
    rse: str
    file: File
    sources: deque[Source] = field(default_factory=deque)
    failures: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    deletion: Order | None = None

    def add_sources(self, sources: Iterable[Source]) -> None:
        self.sources.extend(sources)

    @property
    def reason(self) -> str:
        """Why it failed."""
        return "; ".join(self.failures) or "no source is left"
