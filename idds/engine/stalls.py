"""Recalls that make no progress: what is done about one, and why.

What counts as too long is taken from the tape itself: most of what came from it of late came sooner. Where little has
come that says little, and a fixed time holds.
"""

from dataclasses import dataclass
from enum import StrEnum

from idds.engine.times import Times


class Remedy(StrEnum):
    BOOST = "boosted"
    """It goes before others, and what is stuck is tried again."""
    ELSEWHERE = "recalled from elsewhere"
    """Its order is ended, and it is ordered from another source."""
    GIVE_UP = "given up"
    """It fails alone."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a recall has stalled, and how often something is tried; times in microseconds.

    It has where it takes longer than `factor` times what `quantile` of the recent ones took, and than `floor`; or
    longer than `unknown`, where fewer than `least` have come. It is boosted `boosts` times then, recalled from
    elsewhere (where it is nowhere else, boosted) `orders` times, and given up, with as long a wait before each. While
    nothing at all comes from its tape it is not given up before it has taken `longest`.
    """

    quantile: float = 0.99
    factor: float = 3.0
    floor: int = 900_000_000
    unknown: int = 6 * 3600_000_000
    least: int = 50
    boosts: int = 1
    orders: int = 2
    longest: int = 7 * 86400_000_000

    def of(self, times: Times) -> int:
        """How long a recall may make no progress."""
        usual = times.quantile(self.quantile) if times.n >= self.least else None
        return max(self.floor, self.unknown if usual is None else round(self.factor * usual))


@dataclass(frozen=True, slots=True)
class Recall:
    """One that is under way: from `source`, or whichever; something was done about it `times` times.

    `others` are further sources that may be used, the best first. `tape_moves` says whether anything has come from its
    tape since it was ordered, or something was done about it.
    """

    ordered_at: int
    times: int
    source: str | None
    others: tuple[str, ...]
    tape_moves: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done, why in words, and from which source it comes from then on."""

    remedy: Remedy
    reason: str
    source: str | None = None


def judge(recall: Recall, times: Times, patience: Patience, now: int) -> Verdict | None:
    """What is done about a recall whose time is over; None where its tape stands still and only waiting is left."""
    limit = patience.of(times)
    tape = recall.source or "its tape"
    if recall.tape_moves:
        stalled = f"no progress for {_span(limit)}, while others came from {tape}"
    else:
        stalled = f"nothing came from {tape} for {_span(limit)}"
    if now - recall.ordered_at >= patience.longest:
        return Verdict(Remedy.GIVE_UP, f"not on disk {_span(patience.longest)} after its recall was ordered: {stalled}")
    if not recall.tape_moves:
        return _elsewhere(recall, stalled)
    if recall.times < patience.boosts:
        return Verdict(Remedy.BOOST, stalled, recall.source)
    if recall.times < patience.boosts + patience.orders:
        return _elsewhere(recall, stalled) or Verdict(Remedy.BOOST, stalled, recall.source)
    return Verdict(Remedy.GIVE_UP, f"{stalled}; that is so after it was hastened {_times(recall.times)}")


def _elsewhere(recall: Recall, stalled: str) -> Verdict | None:
    if not recall.others:
        return None
    return Verdict(Remedy.ELSEWHERE, f"{stalled}; it is recalled from {recall.others[0]} instead", recall.others[0])


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _span(microseconds: int) -> str:
    seconds = microseconds / 1_000_000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
