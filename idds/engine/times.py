"""How long things take: a distribution kept in classes, so that a million times fit into a few numbers.

A class is an eighth of an octave wide: what is read back is off by 4.5 % at most.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

PER_OCTAVE = 8
_UNIT = 1000
"""Microseconds: what takes less is of class 0."""


def class_of(took: int) -> int:
    """The class of a time in microseconds."""
    return max(0, math.ceil(PER_OCTAVE * math.log2(max(took, 1) / _UNIT)))


def middle_of(number: int) -> int:
    """The time in microseconds that stands for a class: its geometric middle."""
    return round(_UNIT * 2 ** ((number - 0.5) / PER_OCTAVE))


@dataclass(frozen=True, slots=True)
class Times:
    """How many took so long, by class."""

    classes: Mapping[int, int]

    @property
    def n(self) -> int:
        return sum(self.classes.values())

    def quantile(self, q: float) -> int | None:
        """The time in microseconds within which this part of them, 0 < q <= 1, came; None where there are none."""
        wanted, seen = math.ceil(q * self.n), 0
        for number, files in sorted(self.classes.items()):
            seen += files
            if seen >= max(wanted, 1):
                return middle_of(number)
        return None
