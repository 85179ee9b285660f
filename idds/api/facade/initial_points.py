"""The points that a search begins with, as workload managers give them.

Each stands alone or with the loss that it has not got yet, `[point, null]`. In a search by segments it has the name of
its model before it, `[model_id, point]`, as it has where such a sample is told of; without one it is for all segments.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idds.domain.errors import InvalidInput, Problem
from idds.domain.space import Value
from idds.domain.workflow import Samples
from idds.engine.foreign_spaces import MODEL
from idds.engine.spaces import problems

Point = dict[str, Value]
PLACE = "/request_metadata/initial_points"
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Given:
    """A point that was given as the one with this number, for the segment of a model; None: for all there are."""

    number: int
    model: Value | None
    point: Point


def read(given: Sequence[Any]) -> list[Given]:
    """Raises InvalidInput."""
    return [_read(each, number) for number, each in enumerate(given)]


def _read(written: Any, number: int) -> Given:
    place, model = f"{PLACE}/{number}", None
    if _is_pair(written) and isinstance(written[0], dict | list):
        written, loss = written
        if loss is not None:
            raise InvalidInput([Problem(f"{place}/1", "a point to begin with is evaluated here: it has no loss yet")])
    if _is_pair(written) and isinstance(written[0], str | int):
        model, written = written
    if not isinstance(written, dict) or not all(isinstance(value, str | int | float) for value in written.values()):
        raise InvalidInput([Problem(place, "give a value for each parameter, or [these, null]")])
    return Given(number, model, written)


def _is_pair(written: Any) -> bool:
    return isinstance(written, list) and len(written) == 2


def alone(given: Sequence[Given]) -> tuple[Point, ...]:
    """The points of a search without segments. Raises InvalidInput."""
    if named := [each for each in given if each.model is not None]:
        place = f"{PLACE}/{named[0].number}"
        raise InvalidInput([Problem(place, "there are no segments: a point stands without the name of a model")])
    return tuple(each.point for each in given)


def in_turns(segments: Sequence[Mapping[str, Any]], given: Sequence[Given], count: int) -> tuple[Point, ...]:
    """The points as a study of up to `count` samples has them: each at the turn of its segment. Raises InvalidInput."""
    models = [segment.get(MODEL) for segment in segments]
    if unknown := [each for each in given if each.model is not None and each.model not in models]:
        raise InvalidInput(
            [Problem(f"{PLACE}/{each.number}", f"there is no segment of model {each.model!r}") for each in unknown]
        )
    named = Counter(each.model for each in given)
    rounds = named[None] + max((n for model, n in named.items() if model is not None), default=0)
    if rounds * len(models) > MOST:
        raise InvalidInput([Problem(PLACE, f"in so many segments these would be more than {MOST:,} points")])
    turns = [[each for each in given if each.model in (None, model)] for model in models]
    ordered = [turn[n] if n < len(turn) else None for n in range(rounds) for turn in turns]
    points = tuple(each.point if each is not None else {} for each in ordered)
    samples = Samples(opt_space=tuple(map(dict, segments)), initial=points, count=count)
    if found := {each.pointer: each for each in _placed(samples, ordered)}:
        raise InvalidInput([*found.values()])
    return points


def _placed(samples: Samples, ordered: Sequence[Given | None]) -> Iterator[Problem]:
    """What is wrong with the points, where they were given."""
    for problem in problems(samples, ""):
        _, where, *number = problem.pointer.split("/", 3)
        if where == "initial" and number and (given := ordered[int(number[0])]) is not None:
            rest = f"/{number[1]}" if len(number) > 1 else ""
            yield Problem(f"{PLACE}/{given.number}{rest}", problem.message)
