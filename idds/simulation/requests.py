"""The requests of a simulation: what each waits for, holds, and has behind it."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapreplace
from itertools import islice
from random import Random

from idds.simulation.layout import Dataset, Layout
from idds.simulation.library import microseconds
from idds.simulation.scenario import Requests, Scenario


@dataclass(slots=True, eq=False)
class Request:
    """`held_bytes` and `held_files` were admitted for it and are not gone, `in_flight` are those files not on disk yet.

    `pinned_bytes` and `pinned_files` it has not processed yet, whoever had them recalled. What others have on its way
    is `offered` to it, what `landed` for them too; what it pins of that before its turn it has `joined`. Times are
    microseconds, None until then.
    """

    number: int
    asked: Requests
    batch: int
    dataset: Dataset
    arrives_at: int
    process_us: "array[int]"
    held_bytes: int = 0
    held_files: int = 0
    in_flight: int = 0
    pinned_bytes: int = 0
    pinned_files: int = 0
    waiting_since: int = 0
    first_at: int | None = None
    ended: int = 0
    ended_at: int | None = None
    refused: int = 0
    heads: list[int] = field(default_factory=list)
    following: int = 0
    slots: list[int] = field(default_factory=list)
    offered: dict[int, None] = field(default_factory=dict)
    landed: dict[int, None] = field(default_factory=dict)
    joined: set[int] = field(default_factory=set)

    @property
    def groups(self) -> int:
        return self.dataset.stop - self.dataset.start

    @property
    def is_waiting(self) -> bool:
        return bool(self.heads) or self.has_more

    @property
    def has_more(self) -> bool:
        """Beyond the heads."""
        return len(self.joined) < self.dataset.stop - self.following

    def refill(self, heads: int) -> list[int]:
        """The heads of what waits, as many as are shown to who plans."""
        while len(self.heads) < heads and self.following < self.dataset.stop:
            if self.following in self.joined:
                self.joined.remove(self.following)
            else:
                self.heads.append(self.following)
            self.following += 1
        return self.heads

    def offer(self, group: int, *, has_landed: bool) -> None:
        """Somebody else has it on its way to the disk, or there."""
        if group >= self.following and group not in self.joined:
            (self.landed if has_landed else self.offered)[group] = None

    def joins(self, pinnable: Callable[[int], bool], most: int) -> list[int]:
        """Some of what was offered, behind the heads and still there; what has landed first."""
        found: list[int] = []
        for offered in (self.landed, self.offered):
            for group in list(islice(offered, most)):
                if group < self.following or not pinnable(group):
                    del offered[group]
                elif group not in found:
                    found.append(group)
        return found[:most]

    def take(self, groups: set[int]) -> None:
        """These wait no more."""
        self.heads = [group for group in self.heads if group not in groups]
        for group in groups:
            self.offered.pop(group, None)
            self.landed.pop(group, None)
            if group >= self.following:
                self.joined.add(group)

    def take_all(self) -> list[int]:
        """All that waits, which waits no more."""
        groups = [*self.heads, *range(self.following, self.dataset.stop)]
        self.heads, self.following = [], self.dataset.stop
        return groups

    def process(self, group: int, now: int) -> int:
        """Give a group to the next slot that is free; when it will have been processed."""
        ends = max(now, self.slots[0]) + self.process_us[group - self.dataset.start]
        heapreplace(self.slots, ends)
        return ends

    def processing_bound(self) -> int:
        """Microseconds that its jobs need at the least."""
        return max(sum(self.process_us) // len(self.slots), max(self.process_us))


def make_requests(scenario: Scenario, layout: Layout) -> Iterator[Request]:
    """All of them, in the order of the scenario; the same for the same seed."""
    random = Random(scenario.seed + 1)  # noqa: S311 -- a model's chance, not a secret's
    number = 0
    for asked in scenario.requests:

        def draw(files: int, mean_s: float = asked.process_s) -> int:
            """The sum of exponential times is a gamma distribution."""
            return microseconds(random.gammavariate(files, mean_s)) if mean_s else 0

        for nth in range(asked.count):
            dataset = layout.dataset(asked, nth)
            process_us = array("q", (draw(layout.files[group]) for group in range(dataset.start, dataset.stop)))
            arrives_at = microseconds(asked.arrives_s + nth * asked.every_s)
            yield Request(
                number=number,
                waiting_since=arrives_at,
                asked=asked,
                batch=layout.files[dataset.start],
                dataset=dataset,
                arrives_at=arrives_at,
                process_us=process_us,
                following=dataset.start,
                slots=[0] * asked.slots,
            )
            number += 1
