"""Bodies of thousands of small records: read by msgspec, after the very model that documents them."""

from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types
import msgspec
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_BOUNDS = {
    annotated_types.Ge: "ge",
    annotated_types.Gt: "gt",
    annotated_types.Le: "le",
    annotated_types.Lt: "lt",
    annotated_types.MinLen: "min_length",
    annotated_types.MaxLen: "max_length",
}


@cache
def reader_of(model: type[BaseModel]) -> msgspec.json.Decoder[Any]:
    """Reads what the model reads, no more, into a struct with its attributes.

    Raises TypeError for a model with rules that are more than types, bounds and lengths.
    """
    return msgspec.json.Decoder(_struct(model))


def _struct(model: type[BaseModel]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for name, field in model.model_fields.items():
        kind = _bounded(_kind(field.annotation), field.metadata)
        fields.append((name, kind) if field.is_required() else (name, kind, field.default))
    return msgspec.defstruct(model.__name__, fields, frozen=True, forbid_unknown_fields=True, gc=False)


def _kind(kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(_kind(inner[0]), inner[1:])
    if origin in (Union, UnionType):
        return reduce(or_, map(_kind, inner))
    if origin is list:
        return list[_kind(inner[0])]  # type: ignore[misc]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _struct(kind)
    return kind


def _bounded(kind: Any, rules: Any) -> Any:
    bounds: dict[str, Any] = {}
    for rule in rules:
        of_rule = rule.metadata if isinstance(rule, FieldInfo) else [rule]
        for bound in of_rule:
            name = _BOUNDS.get(type(bound))
            if name is None:
                raise TypeError(f"{bound} is no rule that msgspec has")
            bounds[name] = getattr(bound, name)
    return Annotated[kind, msgspec.Meta(**bounds)] if bounds else kind
