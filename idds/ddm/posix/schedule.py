"""The order of recalls from one tape RSE: which cartridge a drive takes next, and what it reads next from it."""

from bisect import bisect_left, insort
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Waiting(Generic[T]):
    """What waits for one cartridge, sorted by (position, arrival)."""

    since: int
    places: list[tuple[int, int]] = field(default_factory=list)
    items: dict[tuple[int, int], T] = field(default_factory=dict)


class Schedule(Generic[T]):
    """Mounting costs most, so a cartridge stays while anything waits for it; the next one is that waiting longest.

    On a cartridge the head sweeps forward, and goes back to the front when nothing lies ahead.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting[T]] = {}
        self._arrivals = 0

    def add(self, cartridge: str, position: int, item: T) -> None:
        self._arrivals += 1
        waiting = self._waiting.setdefault(cartridge, _Waiting(self._arrivals))
        place = (position, self._arrivals)
        insort(waiting.places, place)
        waiting.items[place] = item

    def remove(self, cartridge: str, position: int, item: T) -> bool:
        """Whether it was waiting still."""
        waiting = self._waiting.get(cartridge)
        if waiting is None:
            return False
        for place in waiting.places[bisect_left(waiting.places, (position, 0)) :]:
            if place[0] != position:
                return False
            if waiting.items[place] is item:
                self._take(cartridge, waiting, place)
                return True
        return False

    def cartridge(self, mounted: str | None, elsewhere: Collection[str]) -> str | None:
        """What the drive that has `mounted` shall serve; `elsewhere` are the cartridges in other drives."""
        if mounted in self._waiting:
            return mounted
        free = ((waiting.since, name) for name, waiting in self._waiting.items() if name not in elsewhere)
        return min(free, default=(0, None))[1]

    def next(self, cartridge: str, head: int) -> tuple[int, T] | None:
        """Take what shall be read next with the head at position `head`; None when nothing waits any more."""
        waiting = self._waiting.get(cartridge)
        if waiting is None:
            return None
        ahead = bisect_left(waiting.places, (head, 0))
        place = waiting.places[ahead % len(waiting.places)]
        return place[0], self._take(cartridge, waiting, place)

    def _take(self, cartridge: str, waiting: _Waiting[T], place: tuple[int, int]) -> T:
        del waiting.places[bisect_left(waiting.places, place)]
        if not waiting.places:
            del self._waiting[cartridge]
        return waiting.items.pop(place)
