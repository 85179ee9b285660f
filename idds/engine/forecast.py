"""When what is left will have come, from how it came of late; with an interval, as one number would be a lie.

What comes in equal times, of mean m and deviation s, adds up until it is enough: a renewal process seen from its other
side. The number of times that it takes to come to R has the mean T = R / m and, for large R, the variance
R s^2 / m^3 = T c^2 with c = s / m (W. Feller, An Introduction to Probability Theory and Its Applications, vol. II, ch.
XI.5). m is known from n times only, which adds T^2 c^2 / n. Neighbouring times are alike, as drives run for hours and
robots stop for minutes: with their correlation r all of it is (1 + r) / (1 - r) times larger, which is what it is for
an autoregression of first order. The interval is that of a logarithmic normal distribution: no end is in the past.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from idds.domain.carousel import Eta

LEAST = 5
"""Of fewer times nothing is told."""
_Z = 1.645
"""Of the normal distribution: nine of ten are within so many deviations."""
_ALIKE_AT_MOST = 0.9


def eta(left: float, came: Sequence[float], width: int) -> Eta | None:
    """When `left` will have come, after so much came in each of the last times of `width` microseconds.

    None where too little is known to tell, or nothing came.
    """
    n, mean = len(came), fmean(came) if came else 0.0
    if left <= 0:
        return Eta(0, 0, 0)
    if n < LEAST or mean <= 0:
        return None
    spread = sum((each - mean) ** 2 for each in came) / (n - 1)
    alike = _alike(came, mean)
    times = left / mean
    variance = times * (1 + times / n) * spread / mean**2 * (1 + alike) / (1 - alike)
    # Of a logarithmic normal distribution with this mean and variance.
    sigma = math.sqrt(math.log1p(variance / times**2))
    middle = times / math.exp(sigma**2 / 2)
    return Eta(
        round(times * width),
        round(middle * math.exp(-_Z * sigma) * width),
        round(middle * math.exp(_Z * sigma) * width),
    )


def _alike(came: Sequence[float], mean: float) -> float:
    """How much neighbouring times are alike, 0 to 0.9."""
    total = sum((each - mean) ** 2 for each in came)
    if total == 0:
        return 0.0
    together = sum((a - mean) * (b - mean) for a, b in pairwise(came))
    return min(max(together / total, 0.0), _ALIKE_AT_MOST)


def binned(came: Sequence[tuple[int, float]], start: int, width: int, count: int) -> list[float]:
    """What came at (time, amount), summed up in `count` times of `width` from `start` on; the rest is left out."""
    bins = [0.0] * count
    for at, amount in came:
        number = (at - start) // width
        if 0 <= number < count:
            bins[number] += amount
    return bins
