"""Spaces and what was changed of them, in words."""

from itertools import islice
from typing import assert_never

from idds.domain.redefinition import Add, Change, Choose, Constrain, Drop, Fix, Narrow, Unconstrain, Widen
from idds.domain.space import Parameter, Value
from idds.web.studies_drawing import written

CHOICES = 12
"""Of more the first are named."""


def of_parameter(parameter: Parameter) -> str:
    """What a parameter may be."""
    if parameter.type == "categorical":
        return _listed(parameter.choices)
    found = f"{_bound(parameter.low)} to {_bound(parameter.high)}"
    if parameter.step is not None:
        found += f" by {written(parameter.step)}"
    return f"{found}, logarithmic" if parameter.log else found


def of_change(change: Change) -> str:
    """What was changed, and of which segment where that is said."""
    model = None if isinstance(change, Constrain | Unconstrain) else change.model_id
    return _changed(change) if model is None else f"of {model}: {_changed(change)}"


def _changed(change: Change) -> str:
    match change:
        case Narrow() | Widen():
            given = {"low": change.low, "high": change.high}
            bounds = [f"{name} {_bound(value)}" for name, value in given.items() if value is not None]
            return f"{change.parameter} {change.change}ed: {', '.join(bounds)}"
        case Choose():
            return f"{change.parameter} has other choices: {_listed(change.choices)}"
        case Drop():
            only = "" if change.only is None else f", results with {written(change.only)} count on"
            return f"{change.parameter} dropped{only}"
        case Fix():
            within = f", results within {written(change.within)} count on" if change.within else ""
            return f"{change.parameter} fixed at {written(change.value)}{within}"
        case Add():
            earlier = "" if change.earlier is None else f", earlier results count as {written(change.earlier)}"
            return f"{change.parameter} added: {of_parameter(change.space)}{earlier}"
        case Constrain():
            return f"must hold: {change.expression}"
        case Unconstrain():
            return f"need not hold: {change.expression}"
        case _:
            assert_never(change)


def _bound(value: float | None) -> str:
    """A whole number without its point."""
    if value is None:
        return "–"
    return written(int(value)) if value == int(value) and abs(value) < 1e15 else written(value)


def _listed(choices: tuple[Value, ...]) -> str:
    named = ", ".join(str(each) for each in islice(choices, CHOICES))
    return named if len(choices) <= CHOICES else f"{named} and {len(choices) - CHOICES:,} more"
