"""Documents spoilt at one place, in every way that a place can be spoilt."""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MISSING = object()
VALUES: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "a number": 7,
    "a negative number": -1,
    "half a number": 0.5,
    "more than 64 bits": 2**63,
    "far more than 64 bits": 10**30,
    "a text": "x",
    "no text": "",
    "a long text": "x" * 150_000,
    "a text with U+0000": "a\0b",
    "half a character": "\ud800",
    "a list": ["x"],
    "an empty list": [],
    "a list of lists": [[[[]]]],
    "an object": {"x": 1},
    "an empty object": {},
    "not a number": float("nan"),
    "infinity": float("inf"),
    "nothing": MISSING,
}
Step = str | int
Place = tuple[Step, ...]


@dataclass(frozen=True)
class Spoilt:
    """A body that is bad at `place`. `document` is what it says, where it can be read at all."""

    what: str
    place: Place
    body: bytes
    document: Any

    @property
    def pointer(self) -> str:
        return pointer(self.place)


def spoilt(document: Any) -> Iterator[Spoilt]:
    """The document with each place in turn replaced by each value, and each object with a field too many."""
    for place, value in _places(document):
        for what, other in VALUES.items():
            if other is MISSING and not (place and isinstance(place[-1], str)):
                continue
            changed = _with(document, place, other)
            yield Spoilt(f"{what} at {pointer(place) or 'the top'}", place, _encoded(changed), changed)
        if isinstance(value, dict):
            here = (*place, "bogus")
            changed = _with(document, here, 1)
            yield Spoilt(f"a field too many at {pointer(place) or 'the top'}", here, _encoded(changed), changed)


def doubled(document: Any) -> Iterator[Spoilt]:
    """The document with each object's first field said twice."""
    for place, value in _places(document):
        if isinstance(value, dict) and value:
            name = next(iter(value))
            text = _encoded(_with(document, place, "HERE")).decode() if place else '"HERE"'
            twice = f"{{{json.dumps(name)}: {json.dumps(value[name])}, {json.dumps(value)[1:]}"
            yield Spoilt(
                f"a field twice at {pointer(place) or 'the top'}",
                place,
                text.replace('"HERE"', twice).encode(),
                document,
            )


UNREADABLE: Mapping[str, Callable[[bytes], bytes]] = {
    "nothing": lambda body: b"",
    "blanks": lambda body: b" \n\t ",
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "another encoding": lambda body: body.decode().encode("utf-16"),
    "bytes that are no UTF-8": lambda body: body.replace(b'"', b'"\xff', 1),
    "overlong UTF-8": lambda body: body.replace(b'"', b'"\xc0\xaf', 1),
    "an end too early": lambda body: body[:-1],
    "something after the end": lambda body: body + b"x",
    "two documents": lambda body: body + body,
    "a comma too many": lambda body: body[:-1] + b",}",
    "deep nesting": lambda body: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep nesting that does not end": lambda body: b"[" * 500_000,
    "quotes of Python": lambda body: body.replace(b'"', b"'"),
    "a comment": lambda body: b"/* hello */" + body,
    "a bare control character": lambda body: body.replace(b'"', b'"\x01', 1),
}
"""What can be done to the bytes of a document."""


def pointer(place: Place) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)


def leads_somewhere(document: Any, pointed: str) -> bool:
    """Whether a pointer names a place of the document, or one where something is missing."""
    if pointed == "":
        return True
    if not pointed.startswith("/"):
        return False
    *way, last = [re.sub("~1", "/", step).replace("~0", "~") for step in pointed[1:].split("/")]
    for step in way:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        else:
            return False
    return isinstance(document, dict) or (isinstance(document, list) and last.isdigit() and int(last) < len(document))


def is_near(pointed: str, place: str) -> bool:
    """Whether what is pointed at is the place, something in it, or that which it stands in."""
    return pointed == place or pointed.startswith(f"{place}/") or pointed == place.rpartition("/")[0]


def _places(document: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    yield place, document
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for step, value in inner:
        yield from _places(value, (*place, step))


def _with(document: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    changed = copy.deepcopy(document)
    parent = changed
    for step in place[:-1]:
        parent = parent[step]
    if value is MISSING:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return changed


def _encoded(document: Any) -> bytes:
    return json.dumps(document).encode()
