"""Nobody starves: the planner alone moves a disk through time, against those who want to have all of it for ever.

The bound: an input that holds nothing gets its next group within `longest_wait`, plus the time that a file stays on
disk for each input that began to wait before it, and once more for what is there when its turn comes.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

import pytest

from idds.domain.identifiers import CollectionId, ContentId, RequestId
from idds.engine.planner import Demand, Plan, Policy, Standing, plan
from idds.engine.shares import Share
from idds.engine.window import Candidate, Wanted
from tests.unit.engine.examples import a_window

WINDOW, STAYS = 40, 20
POLICY = Policy(run_files=5, patience=5, longest_wait=100)
FAST = Share("fast", is_express=True)


@dataclass
class Input:
    """Groups of so many files each, without end or of a number; each file stays on disk for `STAYS`."""

    number: int
    files: int
    groups: int = 10**9
    share: str = ""
    priority: int = 0
    since: int = 0
    next: int = 0
    held: deque[tuple[int, int]] = field(default_factory=deque)
    longest: int = 0

    def demand(self) -> Demand:
        """A third of the time that a file stays is its recall."""
        held = sum(files for _, files in self.held)
        return Demand(
            CollectionId(self.number),
            RequestId(self.number),
            self.share,
            self.priority,
            held_bytes=held,
            held_files=held,
            in_flight=sum(files for until, files in self.held if until > self.since + 2 * STAYS // 3),
            waiting_since=self.since,
            heads=_alike(self.files)[: self.groups - self.next],
            more=True,
        )


@cache
def _alike(files: int) -> tuple[Candidate, ...]:
    """Some groups of so many files, enough for a plan."""
    group = Candidate(0, tuple(Wanted(ContentId(file), f"f{file}", 1) for file in range(files)))
    return (group,) * (WINDOW // files)


class Disk:
    def __init__(self, inputs: Sequence[Input]) -> None:
        self.inputs = {each.number: each for each in inputs}
        self.most = 0

    def step(self, now: int) -> None:
        for each in self.inputs.values():
            while each.held and each.held[0][0] <= now:
                each.held.popleft()
        self._take(self._plan(now), now)
        self.most = max(self.most, self._held())
        for each in self.inputs.values():
            if not each.held and each.next < each.groups:
                each.longest = max(each.longest, now - each.since)

    def _plan(self, now: int) -> Plan:
        waiting = [each for each in self.inputs.values() if each.next < each.groups and each.since <= now]
        disk = a_window(None, WINDOW, reserved_files=self._held())
        return plan(Standing("DISK", disk, tuple(each.demand() for each in waiting), shares=(FAST,)), POLICY, now)

    def _take(self, made: Plan, now: int) -> None:
        for admission in made.admissions:
            of = self.inputs[admission.demand.collection]
            of.next += len(admission.groups)
            of.held.append((now + STAYS, admission.files))
            of.since = now

    def _held(self) -> int:
        return sum(files for each in self.inputs.values() for _, files in each.held)


def bound(inputs: int) -> int:
    return POLICY.longest_wait + (inputs + 1) * STAYS


def test_a_large_group_of_low_priority_gets_its_turn_against_express_and_high_priority() -> None:
    greedy = [Input(number, 1, share="fast") for number in range(3)]
    greedy += [Input(number, 1, priority=1000) for number in range(3, 6)]
    poor = Input(9, 36, priority=-1000, groups=5)
    disk = Disk([*greedy, poor])
    for now in range(800):
        disk.step(now)
    assert poor.next == 5
    assert poor.longest <= bound(7)
    assert disk.most <= WINDOW


@pytest.mark.parametrize("seed", range(4))
def test_everybody_gets_a_turn_within_the_bound(seed: int) -> None:
    random = Random(seed)
    inputs = [
        Input(
            number,
            random.choice((1, 1, 2, 10, 30)),
            share=random.choice(("", "", "a", "fast")),
            priority=random.choice((-500, 0, 0, 500)),
        )
        for number in range(random.randint(2, 15))
    ]
    disk = Disk(inputs)
    for now in range(500):
        disk.step(now)
        assert max(each.longest for each in inputs) <= bound(len(inputs))
    assert all(each.next for each in inputs)
    assert disk.most <= WINDOW


def test_newcomers_do_not_keep_an_old_one_waiting() -> None:
    """Each comes with one group and holds nothing; together they want all of the disk, all the time."""
    old = Input(0, 4, priority=-1000)
    disk = Disk([old, *(Input(number, 4, priority=1000, groups=1, since=2 * number) for number in range(1, 150))])
    for now in range(300):
        disk.step(now)
        assert old.longest <= bound(1)
    assert old.next > 2
