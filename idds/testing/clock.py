"""A clock that tests move by hand."""


class ManualClock:
    """Fulfils `idds.ports.clock.Clock`. Starts at 1,000,000 seconds."""

    def __init__(self, now: int = 1_000_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, microseconds: int) -> None:
        """Time never goes back."""
        self._now += max(0, microseconds)
