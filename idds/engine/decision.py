"""What a decision looks like."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Entity = TypeVar("Entity")
Instruction = TypeVar("Instruction")


@dataclass(frozen=True, slots=True)
class Decision(Generic[Entity, Instruction]):
    """The entity as it shall be, and what is to be done for it, in order."""

    entity: Entity
    instructions: tuple[Instruction, ...] = ()
