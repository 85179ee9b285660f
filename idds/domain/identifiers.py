"""Identifiers. Row ids are integers that never mix; a file is named by its DID."""

from dataclasses import dataclass
from typing import NewType

RequestId = NewType("RequestId", int)
TransformId = NewType("TransformId", int)
ProcessingId = NewType("ProcessingId", int)
CollectionId = NewType("CollectionId", int)
ContentId = NewType("ContentId", int)
ReplicaId = NewType("ReplicaId", int)
WindowId = NewType("WindowId", int)
EffectId = NewType("EffectId", int)
MoveId = NewType("MoveId", int)
TokenId = NewType("TokenId", int)
Handle = NewType("Handle", str)
"""A provider's own name of a job: an opaque JSON string."""


@dataclass(frozen=True, slots=True, order=True)
class Did:
    """A data identifier as Rucio has it, written `scope:name`."""

    scope: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Did":
        """Read `scope:name`. Raises ValueError when either part is missing."""
        scope, colon, name = text.partition(":")
        if not (scope and colon and name):
            raise ValueError(f"{text!r} is not a DID: write scope:name")
        return cls(scope, name)

    def __str__(self) -> str:
        return f"{self.scope}:{self.name}"
