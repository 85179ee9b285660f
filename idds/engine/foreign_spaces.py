"""Search spaces as workload managers send them, read into ours.

Two forms are in the field, `{"A": {"type": "Choice", "params": {"choices": [...]}}, "B": {"type": "Scalar", "bounds":
[0, 5]}}` and `{"lr": {"method": "uniformint", "dimension": {"low": 1, "high": 9}}}`; either may stand in segments,
`[{"model_id": ..., "search_space": ...}]`: a search for each, of whose points the model is a fixed value.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from idds.domain.errors import Problem
from idds.domain.space import Parameter, Point, Value
from idds.engine.study_size import foreign_problem

MODEL = "model_id"
LONGEST_NAME = 128
MOST_CHOICES = 10_000
"""Of one parameter."""
Read = tuple[dict[str, Parameter], dict[str, Value]]
"""Parameters, and what is fixed beside them."""

_METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "uniform": ("float", {}),
    "loguniform": ("float", {"log": True}),
    "quniform": ("float", {}),
    "uniformint": ("int", {}),
}
_INSIDE: Mapping[str, frozenset[str]] = {
    "Choice": frozenset({"choices", "deterministic"}),
    "Scalar": frozenset({"init", "mutable_sigma"}),
    "categorical": frozenset({"categories", "grid_search"}),
    "uniform": frozenset({"low", "high"}),
    "loguniform": frozenset({"low", "high", "base"}),
    "quniform": frozenset({"low", "high", "q"}),
    "uniformint": frozenset({"low", "high"}),
}
"""What may stand in the `params` of a type, or the `dimension` of a method: as nevergrad and hpogrid have them. Where a
search begins, how an algorithm of theirs walks, and the base of a logarithm say nothing of which points there are.
"""


class _Odd(Exception):
    """What is wrong with a parameter: where in it, and why."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


def read(document: Mapping[str, Any] | Sequence[Mapping[str, Any]], place: str) -> tuple[list[Read], list[Problem]]:
    """The spaces, one or a segment each, and what cannot be read of them."""
    if problem := foreign_problem(document, place):
        return [], [problem]
    if isinstance(document, Mapping):
        parameters, problems = _read_space(document, place)
        return [(parameters, {})], problems
    spaces: list[Read] = []
    problems = []
    models: set[str | int] = set()
    for number, segment in enumerate(document):
        at = f"{place}/{number}"
        model, inside = segment.get(MODEL), segment.get("search_space")
        if not isinstance(model, str | int) or isinstance(model, bool):
            problems.append(Problem(f"{at}/{MODEL}", "a segment needs the name or number of its model"))
        elif len(str(model)) > LONGEST_NAME:
            problems.append(Problem(f"{at}/{MODEL}", f"a model's name has {LONGEST_NAME} characters at most"))
        elif model in models:
            problems.append(Problem(f"{at}/{MODEL}", f"model {model!r} has a segment already"))
        elif not isinstance(inside, Mapping):
            problems.append(Problem(f"{at}/search_space", "a segment needs a search space"))
        else:
            parameters, odd = _read_space(inside, f"{at}/search_space")
            if MODEL in parameters:
                odd.append(Problem(f"{at}/search_space/{MODEL}", "this names the segment: no parameter may"))
            spaces.append((parameters, {MODEL: model}))
            models.add(model)
            problems += odd
    return spaces, problems


def point_of(point: Point, *, segmented: bool) -> Any:
    """A point as workload managers write it: one of a segment has the name of its model before it."""
    if not segmented:
        return dict(point)
    return [point[MODEL], {name: value for name, value in point.items() if name != MODEL}]


def _read_space(document: Mapping[str, Any], place: str) -> tuple[dict[str, Parameter], list[Problem]]:
    found: dict[str, Parameter] = {}
    problems = [] if document else [Problem(place, "there is no parameter in it")]
    for name, parameter in document.items():
        at = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
        if not 0 < len(name) <= LONGEST_NAME:
            problems.append(Problem(at, f"a parameter's name has 1 to {LONGEST_NAME} characters"))
            continue
        try:
            found[name] = _read_parameter(parameter)
        except _Odd as odd:
            problems.append(Problem(at + odd.pointer, str(odd)))
        else:
            # It is read all the same: a study that was taken in before these were refused goes on as it is.
            problems += [Problem(at + odd.pointer, str(odd)) for odd in _unknown(parameter)]
    return found, problems


def _read_parameter(document: Any) -> Parameter:
    if isinstance(document, Mapping) and "type" in document:
        return _read_typed(document)
    if isinstance(document, Mapping) and "method" in document:
        return _read_method(document["method"], document.get("dimension"))
    raise _Odd("", "a parameter has a type (Choice, Scalar), or a method and a dimension")


def _unknown(document: Mapping[str, Any]) -> Iterator[_Odd]:
    """What is said of a parameter that can be read, and would not be heeded."""
    is_typed = "type" in document
    kind = document["type"] if is_typed else document["method"]
    inside = "params" if is_typed else "dimension"
    known = {"type", inside, *(["bounds"] if kind == "Scalar" else [])} if is_typed else {"method", inside}
    yield from _beside(document, known, "", kind)
    values = document.get(inside) or {}
    if not isinstance(values, Mapping):
        yield _Odd(f"/{inside}", "only an object can be read")
        return
    yield from _beside(values, _INSIDE[kind], f"/{inside}", kind)
    if values.get("grid_search"):
        yield _Odd(f"/{inside}/grid_search", "only 0 can be read: for each value once take the sampler 'grid'")


def _beside(document: Mapping[str, Any], known: Set[str], place: str, kind: str) -> Iterator[_Odd]:
    for name, value in document.items():
        if name not in known and value is not None:
            at = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
            yield _Odd(at, f"{kind} has no such thing; there are: {', '.join(sorted(known))}")


def _read_typed(document: Mapping[str, Any]) -> Parameter:
    match document["type"]:
        case "Choice":
            inside = document.get("params")
            choices = inside.get("choices") if isinstance(inside, Mapping) else None
            return Parameter(type="categorical", choices=_choices(choices, "/params/choices"))
        case "Scalar":
            bounds = document.get("bounds")
            if not isinstance(bounds, list | tuple) or len(bounds) != 2:
                raise _Odd("/bounds", "a Scalar needs two bounds")
            return Parameter(type="float", low=_number(bounds[0], "/bounds/0"), high=_number(bounds[1], "/bounds/1"))
    raise _Odd("/type", "only Choice and Scalar can be read")


def _read_method(method: Any, dimension: Any) -> Parameter:
    if not isinstance(dimension, Mapping):
        raise _Odd("/dimension", "a method needs a dimension")
    if method == "categorical":
        choices = _choices(dimension.get("categories"), "/dimension/categories")
        return Parameter(type="categorical", choices=choices)
    if not isinstance(method, str) or method not in _METHODS:
        raise _Odd("/method", f"only {', '.join(sorted([*_METHODS, 'categorical']))} can be read")
    kind, more = _METHODS[method]
    step = _number(dimension.get("q"), "/dimension/q") if method == "quniform" else None
    if step is not None and step <= 0:
        raise _Odd("/dimension/q", "a step is above 0")
    low, high = (_number(dimension.get(name), f"/dimension/{name}") for name in ("low", "high"))
    return Parameter(type="int" if kind == "int" else "float", low=low, high=high, step=step, **more)


def _choices(found: Any, place: str) -> tuple[Value, ...]:
    if not isinstance(found, list | tuple) or not all(isinstance(choice, str | int | float) for choice in found):
        raise _Odd(place, "give choices: texts, numbers, true and false")
    if len(found) > MOST_CHOICES:
        raise _Odd(place, f"there are more than {MOST_CHOICES} choices")
    # One that is there twice counts once.
    return tuple({(type(choice), choice): choice for choice in found}.values())


def _number(found: Any, place: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise _Odd(place, "give a number")
    return found
