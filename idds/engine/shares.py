"""Whose turn it is: who holds the least for his weight goes next, share by share, and request by request in each.

That is weighted max-min fairness over bytes held, a run at a time: Bertsekas and Gallager, Data Networks, 6.5.2.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Protocol

from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.replica import Window

DOUBLING = 100
"""So many steps of priority double a request's part."""
MOST_DOUBLINGS = 4


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the disk: `held_bytes` is what all its requests hold, also those that want nothing more.

    An express one goes before the others. `quota` bounds what it holds on all disks together.
    """

    name: str
    weight: float = 1.0
    is_express: bool = False
    held_bytes: int = 0
    quota: Window | None = None


class Claimant(Protocol):
    """Somebody who waits for a turn."""

    @property
    def collection(self) -> CollectionId: ...
    @property
    def request(self) -> RequestId: ...
    @property
    def share(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def waiting_since(self) -> int: ...


Claim = tuple[Claimant, int, int | None]
"""Who, how many bytes it was given already, and how many it wants next; None: nothing more."""
_Entry = tuple[float, int, CollectionId]


def weight_of(priority: int) -> float:
    """A hundred steps of priority double a request's part of its share; at most sixteenfold, at least a sixteenth."""
    doublings: float = max(-MOST_DOUBLINGS, min(MOST_DOUBLINGS, priority / DOUBLING))
    return float(2.0**doublings)


class Turns:
    """Who goes next of those that still want something."""

    def __init__(self, shares: Sequence[Share], claims: Sequence[Claim]) -> None:
        """A share that is not told has a weight of one, and holds what its claimants hold."""
        self._shares = {share.name: share for share in shares}
        self._of_share = Counter({share.name: share.held_bytes for share in shares})
        self._of_request: Counter[RequestId] = Counter()
        self._next: dict[CollectionId, int] = {}
        self._waiting: dict[str, list[_Entry]] = {}
        self._claimants: dict[CollectionId, Claimant] = {}
        for claimant, taken, _ in claims:
            before = 0 if claimant.share in self._shares else claimant.held_bytes
            self._of_share[claimant.share] += before + taken
            self._of_request[claimant.request] += claimant.held_bytes + taken
        for claimant, _, wanted in claims:
            self._claimants[claimant.collection] = claimant
            if wanted is not None:
                self._next[claimant.collection] = wanted
                self._waiting.setdefault(claimant.share, []).append(self._entry(claimant))
        for waiting in self._waiting.values():
            heapify(waiting)

    def take(self) -> CollectionId | None:
        """The next one, who waits no more; None where nobody does."""
        firsts = [(*self._rank(share, waiting[0]), share) for share, waiting in self._waiting.items() if waiting]
        if not firsts:
            return None
        waiting = self._waiting[min(firsts)[-1]]
        while True:
            entry = heappop(waiting)
            current = self._entry(self._claimants[entry[-1]])
            if current <= entry or not waiting:
                return entry[-1]
            # Another input of its request was served meanwhile.
            heappush(waiting, current)

    def wait_again(self, collection: CollectionId, taken: int, wanted: int | None) -> None:
        """It took so many bytes, and wants so many next; None: nothing more."""
        claimant = self._claimants[collection]
        self._of_share[claimant.share] += taken
        self._of_request[claimant.request] += taken
        if wanted is not None:
            self._next[collection] = wanted
            heappush(self._waiting[claimant.share], self._entry(claimant))

    def _rank(self, name: str, first: _Entry) -> tuple[bool, float]:
        share = self._shares.get(name, Share(name))
        return not share.is_express, (self._of_share[name] + self._next[first[-1]]) / share.weight

    def _entry(self, claimant: Claimant) -> _Entry:
        held = self._of_request[claimant.request] + self._next[claimant.collection]
        return held / weight_of(claimant.priority), claimant.waiting_since, claimant.collection
