"""What goes between the service and the samplers' process, over pipes that nobody else holds: frames of pickles."""

import pickle
from dataclasses import dataclass

from idds.domain.identifiers import CollectionId
from idds.ports.sampler import Order, Suggestion

PREFIX = 8
"""Bytes that say how long the frame after them is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order to be carried out, after forgetting studies."""

    order: Order
    forget: tuple[CollectionId, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The study breaks the sampler: of what kind, without any value of it."""

    kind: str


def packed(frame: Wanted | Asked | Failed) -> bytes:
    body = pickle.dumps(frame)
    return len(body).to_bytes(PREFIX, "big") + body


def unpacked(body: bytes) -> object:
    return pickle.loads(body)  # noqa: S301 -- from our own process
