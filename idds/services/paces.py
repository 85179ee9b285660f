"""How fast the samples of studies are taken, as the orders for more of them tell."""

from collections import OrderedDict
from dataclasses import dataclass

from idds.domain.identifiers import CollectionId

STUDIES = 1000
"""So many are remembered: what was forgotten, or another process knew, is known again with the order after the next."""


@dataclass(frozen=True, slots=True)
class _Asked:
    first: int
    at: int
    pace: float | None = None


class Paces:
    """Kept in memory: it only matters while orders come often."""

    def __init__(self) -> None:
        self._asked: OrderedDict[CollectionId, _Asked] = OrderedDict()

    def note(self, study: CollectionId, first: int, asked_at: int) -> float | None:
        """Samples a second that were taken before the order for those from `first` on; None where that is not known.

        `asked_at` (microseconds) is when they were ordered: the rest of an order tells nothing new.
        """
        before = self._asked.pop(study, None)
        if before is None or first < before.first:
            asked = _Asked(first, asked_at)
        elif asked_at <= before.at:
            asked = before
        else:
            asked = _Asked(first, asked_at, (first - before.first) * 1_000_000 / (asked_at - before.at))
        self._asked[study] = asked
        if len(self._asked) > STUDIES:
            self._asked.popitem(last=False)
        return asked.pace or None
