"""What time it is, for those who may not look themselves."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> int:
        """Microseconds UTC since the epoch."""
        ...
