"""When something will have ended, by how it went of late."""

from collections import deque

SPAN_S = 300.0
"""Only so far back is looked: a rate changes."""
LEAST_S = 5.0
"""Nothing is said of what was seen for less."""


class Estimate:
    """Of one count that grows towards a total. Times are seconds of any clock that goes on."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, at: float, ended: int) -> None:
        """So many have ended by now."""
        if self._seen and ended < self._seen[-1][1]:
            self._seen.clear()  # it was retried
        self._seen.append((at, ended))
        while len(self._seen) > 2 and self._seen[1][0] <= at - SPAN_S:
            self._seen.popleft()

    def left_s(self, total: int) -> float | None:
        """Seconds until all have ended, if it goes on like this; None where that cannot be told."""
        if not self._seen:
            return None
        (first, before), (last, ended) = self._seen[0], self._seen[-1]
        if last - first < LEAST_S or ended <= before or ended >= total:
            return None
        return (total - ended) * (last - first) / (ended - before)
