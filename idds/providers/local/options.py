"""The settings of a local provider."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from idds.domain.errors import InvalidInput, Problem

MAX_GRACE_S = 3600


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """`root` is the folder of all jobs' folders; one service at a time may use it.

    `slots` is how many cores running jobs may take together (default: the cores of this machine); `grace_s` the
    seconds between SIGTERM and SIGKILL.
    """

    root: Path
    slots: int = field(default_factory=cores)
    grace_s: float = 5.0

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> "LocalOptions":
        """Raises InvalidInput, with all that is wrong."""
        problems = [Problem(f"/{name}", "no such option") for name in options if name not in cls.__slots__]
        root, slots, grace_s = options.get("root"), options.get("slots", cores()), options.get("grace_s", 5.0)
        if not isinstance(root, str | Path) or not str(root) or "\0" in str(root):
            problems.append(Problem("/root", "must be the path of a folder"))
        if not isinstance(slots, int) or isinstance(slots, bool) or slots < 1:
            problems.append(Problem("/slots", "must be a positive integer"))
        if not isinstance(grace_s, int | float) or isinstance(grace_s, bool) or not 0 <= grace_s <= MAX_GRACE_S:
            problems.append(Problem("/grace_s", f"must be a number of seconds from 0 to {MAX_GRACE_S}"))
        if problems:
            raise InvalidInput(problems)
        return cls(root=Path(root or "").expanduser().resolve(), slots=slots, grace_s=float(grace_s))
