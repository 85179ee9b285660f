"""Reading what was sent: strictly, and with every error at its place."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any, TypeVar, cast, get_origin

import jiter
import msgspec
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from idds.api.arrival import check_form, whole
from idds.api.bodies import Bulk
from idds.api.problems import Malformed, UnsupportedMedia
from idds.api.structs import reader_of
from idds.domain.errors import InvalidInput, Problem
from idds.engine.numbers import worded

M = TypeVar("M", bound=BaseModel)

SMALL = 64 * 1024
"""Larger bodies are read in a thread, so that they don't hold up everybody else."""
MAX_PROBLEMS = 100
UNKNOWN_FIELD = "there is no such field"

_MESSAGES = {
    "extra_forbidden": UNKNOWN_FIELD,
    "unexpected_keyword_argument": UNKNOWN_FIELD,
    "missing": "this field is required",
}
_TOO_FEW = frozenset({"too_short"})


async def read_body(request: web.Request, model: type[M], stall_s: float) -> M:
    """The body, as `model` has it; none at all has its defaults.

    Raises UnsupportedMedia, Malformed, InvalidInput, and Stalled after `stall_s`.
    """
    if not request.body_exists and may_be_left_out(model):
        return model()
    if request.content_type != "application/json":
        raise UnsupportedMedia("send the body as application/json")
    check_form(request)
    body = await whole(request, stall_s)
    read = read_bulk if issubclass(model, Bulk) else parse
    if len(body) > SMALL:
        return await asyncio.to_thread(read, body, model)
    return read(body, model)


@cache
def may_be_left_out(model: type[BaseModel]) -> bool:
    """Whether no field is required: then a body itself is not, nor any parameter."""
    return not any(field.is_required() for field in model.model_fields.values())


def parse(body: bytes, model: type[M]) -> M:
    """A JSON document, as `model` has it. Raises Malformed and InvalidInput."""
    if not _is_sound(body):
        _load(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        if details[0]["type"] == "json_invalid":
            raise Malformed(Problem("", details[0]["msg"])) from None
        raise InvalidInput(problems_of(details, _load(body))) from None


def read_bulk(body: bytes, model: type[M]) -> M:
    """The same, several times as fast, for a model of many small records without rules of their own.

    What comes has the attributes of the model, and is not one. Where words may stand for numbers that are not finite,
    the constants may that others write for them.
    """
    if _is_sound(named := worded(body)):
        try:
            return cast("M", reader_of(model).decode(named))
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # what is wrong with it is told by the model
    return parse(body, model)


def read_lines(lines: Sequence[bytes], model: type[M], first: int) -> list[M]:
    """A document a line, each as `read_bulk` reads it. Raises InvalidInput, counting lines from `first`."""
    if _is_sound(b"[%b]" % b",".join(lines)):
        decode = reader_of(model).decode
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            return [decode(line) for line in lines]
    found: list[M] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, first):
        try:
            found.append(parse(line, model))
        except (InvalidInput, Malformed) as error:
            problems += [Problem(f"/{number}{problem.pointer}", problem.message) for problem in error.problems]
        if len(problems) >= MAX_PROBLEMS:
            break
    if problems:
        raise InvalidInput(problems[:MAX_PROBLEMS])
    return found


def read_query(request: web.Request, model: type[M]) -> M:
    """The query parameters, as `model` has them. Raises InvalidInput."""
    if not request.rel_url.raw_query_string and may_be_left_out(model):
        return cast("M", _without_parameters(model))
    query = request.query
    many = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is tuple}
    if twice := sorted({name for name in query if len(query.getall(name)) > 1} - many):
        raise InvalidInput([Problem(f"?{name}", "this parameter stands twice") for name in twice])
    if odd := [(name, found) for name, value in query.items() if (found := _NOT_IN_TEXTS.search(value))]:
        raise InvalidInput([Problem(f"?{name}", f"no text may hold {_named(found)}") for name, found in odd])
    try:
        return model.model_validate({name: query.getall(name) if name in many else query[name] for name in query})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise InvalidInput([Problem(f"?{detail['loc'][0]}", _message(detail)) for detail in details]) from None


@cache
def _without_parameters(model: type[BaseModel]) -> BaseModel:
    return model()


_NOT_IN_TEXTS = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
_FOLDED = bytes.maketrans(b"123456789E", b"000000000e")
_HUGE = re.compile(rb"e000+[\s,\]}]")


def _is_sound(body: bytes) -> bool:
    """Surely nothing is in it that is no good in any document; it may be False where all is well."""
    folded = body.translate(_FOLDED, b"+")
    if b"\\u0000" in body or b"0" * 19 in folded or _HUGE.search(folded):
        return False
    try:
        jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False, cache_mode="keys")
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Odd:
    """Stands in a document where something is that is no good in any."""

    message: str
    inside: Any = None


class _Loading:
    """Loads a document as plain values, marking what is said twice in it, or does not fit into 64 bits."""

    def __init__(self) -> None:
        self.is_odd = False

    def load(self, text: str) -> Any:
        return json.loads(
            text,
            object_pairs_hook=self._pairs,
            parse_int=self._integer,
            parse_float=self._number,
            parse_constant=self._constant,
        )

    def _mark(self, message: str, inside: Any = None) -> _Odd:
        self.is_odd = True
        return _Odd(message, inside)

    def _pairs(self, found: list[tuple[str, Any]]) -> Any:
        values = dict(found)
        if len(values) == len(found):
            return values
        twice = next(name for name, n in Counter(name for name, _ in found).items() if n > 1)
        return self._mark(f"the field {twice!r} stands twice", values)

    def _integer(self, text: str) -> Any:
        value = int(text) if len(text) < 21 else 2**63
        return value if -(2**63) <= value < 2**63 else self._mark("this number does not fit into 64 bits")

    def _number(self, text: str) -> Any:
        value = float(text)
        return value if isfinite(value) else self._mark("this number is too large")

    def _constant(self, text: str) -> Any:
        return self._mark(f"{text} is not a number in JSON")


def _load(body: bytes) -> Any:
    loading = _Loading()
    try:
        document = loading.load(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Malformed(Problem("", f"byte {error.start} is not UTF-8")) from None
    except json.JSONDecodeError as error:
        raise Malformed(Problem("", f"line {error.lineno}, column {error.colno}: {error.msg}")) from None
    except RecursionError:
        raise Malformed(Problem("", "it is nested too deep")) from None
    # What JSON may write and PostgreSQL's texts may not hold.
    if loading.is_odd or _ESCAPED.search(body):
        _refuse_odd(document)
    return document


def _refuse_odd(document: Any) -> None:
    found: list[Problem] = []
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting and len(found) < MAX_PROBLEMS:
        pointer, value = waiting.pop()
        if isinstance(value, _Odd):
            found.append(Problem(pointer, value.message))
            value = value.inside
        if isinstance(value, str) and (character := _NOT_IN_TEXTS.search(value)):
            found.append(Problem(pointer, f"no text may hold {_named(character)}"))
        waiting += [(f"{pointer}/{_escape(key)}", inner) for key, inner in _parts(value)]
        if isinstance(value, dict) and (character := _NOT_IN_TEXTS.search("".join(value))):
            found.append(Problem(pointer, f"no field's name may hold {_named(character)}"))
    if found:
        raise InvalidInput(sorted(found, key=lambda problem: problem.pointer))
    return


def _named(character: re.Match[str]) -> str:
    return f"the character U+{ord(character[0]):04X}"


def _parts(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _escape(key: str | int) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def problems_of(details: list[ErrorDetails], document: Any) -> list[Problem]:
    """One problem a place; of a choice between types, all that it might be."""
    kinds: dict[str, set[str]] = {}
    messages: dict[str, list[str]] = {}
    for detail in details:
        pointer = _pointer(detail, document)
        kinds.setdefault(pointer, set()).add(detail["type"])
        said = messages.setdefault(pointer, [])
        if (message := _message(detail)) not in said:
            said.append(message)
    # A list of which no element could be read counts as too short: what is wrong is said of the elements.
    empty = {p for p in kinds if kinds[p] <= _TOO_FEW and any(q.startswith(f"{p}/") for q in kinds)}
    return [Problem(p, " or ".join(said)) for p, said in messages.items() if p not in empty][:MAX_PROBLEMS]


def _message(detail: ErrorDetails) -> str:
    bounds = detail.get("ctx", {})
    match detail["type"]:
        case "too_long":
            message = f"there are {bounds['actual_length'] or 'more'}, and {bounds['max_length']} at most are taken"
        case "too_short":
            message = f"there are {bounds['actual_length']}, and {bounds['min_length']} at least are wanted"
        case kind:
            message = _MESSAGES.get(kind) or detail["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _pointer(detail: ErrorDetails, document: Any) -> str:
    """Where it is in the document: pydantic's location less the names of types that it tried."""
    pointer, value = "", document
    location = detail["loc"]
    for number, step in enumerate(location):
        is_there = (isinstance(value, Mapping) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if is_there:
            value = value[step]
        elif not (detail["type"] == "missing" and number == len(location) - 1):
            continue
        pointer += f"/{_escape(step)}"
    return pointer
