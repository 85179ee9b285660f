"""An effect: something to be done outside, recorded in the transaction that calls for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idds.domain.identifiers import EffectId, RequestId
from idds.domain.statuses import EffectKind


@dataclass(frozen=True, slots=True)
class Effect:
    """`(entity, attempt, kind)` is its natural key, and the idempotency key of what it does outside.

    `tries` counts how often it was claimed. A claim holds while its `epoch` stands in the row.
    """

    id: EffectId
    kind: EffectKind
    entity: str
    attempt: int
    request_id: RequestId | None
    payload: Mapping[str, Any]
    epoch: int
    tries: int


@dataclass(frozen=True, slots=True)
class NewEffect:
    """An effect to be recorded; due after `delay` microseconds. `error` says why it was not done before."""

    kind: EffectKind
    entity: str
    attempt: int
    payload: Mapping[str, Any]
    delay: int = 0
    error: str | None = None
