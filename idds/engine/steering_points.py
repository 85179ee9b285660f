"""What a steering command reads and writes: all points so far with their losses, and new ones.

The protocol is that of HPO tasks of PanDA (`hpoRequestData`), which the steering containers in the field speak.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from idds.domain.space import Point
from idds.domain.workflow import Samples, Steering

IN, OUT = "input.json", "output.json"
"""The names that a job's files have: the folder it runs in has them."""
MOST_PARAMETERS = 1000
LONGEST = 10_000
"""Characters of a name or value."""
_NOT_IN_TEXTS = re.compile("[\0\ud800-\udfff]")


class Unreadable(Exception):
    """What a command wrote is no list of points; why."""


def argv(steering: Steering, *, points: int, most: int) -> tuple[str, ...]:
    """The command, with what stands in it for its files and numbers."""
    meant = {"%IN": IN, "%OUT": OUT, "%NUM_POINTS": str(points), "%MAX_POINTS": str(most)}
    written: list[str] = []
    for argument in steering.argv:
        for name, value in meant.items():
            argument = argument.replace(name, value)
        written.append(argument)
    return tuple(written)


def document(samples: Samples, points: Sequence[tuple[Point, float | None]]) -> dict[str, Any]:
    """What it reads: all points so far. One that has not come back, or failed, has no loss."""
    return {"points": [list(each) for each in points], "opt_space": _opt_space(samples)}


def _opt_space(samples: Samples) -> Any:
    """As it was given."""
    if samples.opt_space is not None:
        return samples.opt_space
    return {name: {k: v for k, v in asdict(each).items() if v is not None} for name, each in samples.space.items()}


def read(body: bytes, fixed: Point, most: int) -> list[Point]:
    """The points that a command wrote, no more than were wanted; none of them: the search has ended.

    Raises Unreadable.
    """
    try:
        written = json.loads(body)
    except ValueError:
        raise Unreadable("what it wrote is no JSON") from None
    except RecursionError:
        raise Unreadable("what it wrote is nested too deep") from None
    if not isinstance(written, list):
        raise Unreadable(f"what it wrote is no list of points, but {type(written).__name__}")
    return [{**fixed, **_point(each, number)} for number, each in enumerate(written[:most])]


def _point(written: Any, number: int) -> Point:
    if not isinstance(written, dict) or not written or len(written) > MOST_PARAMETERS:
        raise Unreadable(f"point {number} is no object of 1 to {MOST_PARAMETERS:,} parameters")
    for name, value in written.items():
        if not (_is_text(name) and (_is_text(value) if isinstance(value, str) else _is_number(value))):
            raise Unreadable(f"point {number} has a value that is no number, text or truth, at {name[:100]!r}")
    return written


def _is_text(text: str) -> bool:
    """Whether a database takes it: it holds no NUL and no half of a character."""
    return len(text) <= LONGEST and _NOT_IN_TEXTS.search(text) is None


def _is_number(value: Any) -> bool:
    """Or a truth."""
    if isinstance(value, float):
        return abs(value) < float("inf")
    return isinstance(value, int) and abs(value) < 2**63
