"""How often a principal may call, so that one who is in a hurry does not slow the others."""

import math
import time
from collections.abc import Callable, Hashable

from idds.api.problems import TooMany
from idds.domain.access import Grant
from idds.runtime.settings import ApiSettings

ROUNDING_S = 1e-6


class Rates:
    """A bucket of `burst` calls for each principal, that fills again at `rate_per_s`. `clock` counts seconds.

    Kept is only the time at which a bucket will be full again: the generic cell rate algorithm (ITU-T I.371, annex A).
    An owner has one bucket for all of its tokens, in a VO. The payloads of a collection have one of their own,
    together: a fleet that runs wild does not shut its owner out. Each process counts for itself.
    """

    def __init__(self, settings: ApiSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1 / settings.rate_per_s if settings.rate_per_s else 0.0
        self._depth_s = self._interval_s * max(1, settings.burst)
        self._size = settings.rate_memory_size
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}

    def take(self, grant: Grant) -> None:
        """Count a call. Raises TooMany when the bucket is empty; then it counts for nothing."""
        if not self._interval_s:
            return
        principal = grant.principal
        key = (principal.vo, principal.owner, grant.collection_id)
        now = self._clock()
        full_at = max(now, self._full_at.get(key, now)) + self._interval_s
        if full_at - now > self._depth_s + ROUNDING_S:
            wait_s = full_at - now - self._depth_s
            raise TooMany("you call more often than you may; the service's settings say how often", math.ceil(wait_s))
        self._remember(key, full_at, now)

    def _remember(self, key: Hashable, full_at: float, now: float) -> None:
        self._full_at.pop(key, None)
        while self._full_at:
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) < self._size:
                break
            del self._full_at[oldest]
        self._full_at[key] = full_at
