"""The carousel itself: events in the order of their times, from a request's arrival to the last byte given back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush
from typing import Protocol

from idds.simulation.layout import Dataset, Layout
from idds.simulation.library import Reading, microseconds
from idds.simulation.measures import Measures
from idds.simulation.requests import Request
from idds.simulation.scenario import Scenario


class State(IntEnum):
    """Of a group on disk."""

    ABSENT = 0
    STAGING = 1
    PRESENT = 2
    DELETING = 3


class _Kind(IntEnum):
    ARRIVED = 0
    READ = 1
    LANDED = 2
    PROCESSED = 3
    GONE = 4
    PLAN = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """What to admit and what to refuse of a request; `again_at` is when time alone changes something."""

    admitted: list[tuple[Request, list[int]]]
    refused: list[tuple[Request, list[int]]]
    again_at: int | None = None


class Strategy(Protocol):
    """Decides what is recalled when. `keeps_datasets`: nothing is released before its request has ended."""

    keeps_datasets: bool

    def choose(self, carousel: "Carousel", now: int) -> Choice: ...


class Recalls(Protocol):
    """A library: told what is wanted and what it has read, it says what it reads next."""

    mounts: int

    def order(self, groups: Iterable[int], now: int) -> list[Reading]: ...
    def read(self, drive: int, now: int) -> Reading | None: ...


class Carousel:
    """One run. What a strategy may look at is public: requests, states, what is reserved and in flight."""

    def __init__(
        self,
        scenario: Scenario,
        layout: Layout,
        requests: Iterable[Request],
        libraries: Mapping[str, Recalls],
        strategy: Strategy,
        measures: Measures,
    ) -> None:
        self.scenario = scenario
        self.layout = layout
        self.requests = list(requests)
        self.state = bytearray(len(layout.files))
        self.reserved_bytes = self.reserved_files = 0
        self.in_flight_files = dict.fromkeys(scenario.libraries, 0)
        self.in_flight_bytes = dict.fromkeys(scenario.libraries, 0)
        self.libraries = libraries
        self._strategy = strategy
        self._measures = measures
        self._users: dict[int, list[Request]] = {}
        """Of each group on disk or on its way: the requests that pin it."""
        self._payers: dict[int, Request] = {}
        """And for which of them it was admitted."""
        self._alike: dict[Dataset, list[Request]] = {}
        for request in self.requests:
            self._alike.setdefault(request.dataset, []).append(request)
        self._link_free_at = 0
        self._plan_at: int | None = None
        self._planned_at = -microseconds(scenario.planning.every_s)
        self._events: list[tuple[int, int, _Kind, int, int]] = []
        self._told = 0
        self._names = list(self.libraries)

    def run(self) -> None:
        """To the end. Afterwards the measures are complete."""
        for request in self.requests:
            self._tell(request.arrives_at, _Kind.ARRIVED, request.number)
        while self._events:
            now, _, kind, first, second = heappop(self._events)
            match kind:
                case _Kind.ARRIVED:
                    self._arrive(self.requests[first], now)
                case _Kind.READ:
                    self._read(self._names[first], second, now)
                case _Kind.LANDED:
                    self._land(first, now)
                case _Kind.PROCESSED:
                    self._end(self.requests[first], second, now)
                case _Kind.GONE:
                    self._gone(second, now)
                case _Kind.PLAN:
                    self._plan(now)

    def _tell(self, at: int, kind: _Kind, first: int = 0, second: int = 0) -> None:
        self._told += 1
        heappush(self._events, (at, self._told, kind, first, second))

    def _arrive(self, request: Request, now: int) -> None:
        if len(self._alike[request.dataset]) > 1:
            for group in filter(self.is_pinnable, range(request.dataset.start, request.dataset.stop)):
                request.offer(group, has_landed=self.state[group] == State.PRESENT)
        self._wake(now)

    def is_pinnable(self, group: int) -> bool:
        """Whether it is on disk, or on its way there."""
        return self.state[group] in (State.STAGING, State.PRESENT)

    def _wake(self, now: int) -> None:
        """Have it planned soon."""
        at = max(now, self._planned_at + microseconds(self.scenario.planning.every_s))
        if self._plan_at is None or at < self._plan_at:
            self._plan_at = at
            self._tell(at, _Kind.PLAN)

    def _plan(self, now: int) -> None:
        if self._plan_at != now:
            return
        self._plan_at, self._planned_at = None, now
        choice = self._strategy.choose(self, now)
        for request, groups in choice.refused:
            request.take(set(groups))
            request.refused += len(groups)
            self._count(request, len(groups), now)
        for request, groups in choice.admitted:
            self._admit(request, groups, now)
        if choice.again_at is not None:
            self._wake(max(now + 1, choice.again_at))

    def _admit(self, request: Request, groups: list[int], now: int) -> None:
        request.take(set(groups))
        request.waiting_since = now
        ordered: list[int] = []
        for group in groups:
            size, files = self.layout.bytes[group], self.layout.files[group]
            request.pinned_bytes += size
            request.pinned_files += files
            self._users.setdefault(group, []).append(request)
            state = self.state[group]
            if state == State.ABSENT:
                self.state[group] = State.STAGING
                self.reserved_bytes += size
                self.reserved_files += files
                self._payers[group] = request
                request.held_bytes += size
                request.held_files += files
                request.in_flight += files
                ordered.append(group)
            elif state == State.PRESENT:
                self._deliver(request, group, now)
            elif state == State.DELETING:
                raise AssertionError(f"group {group} was admitted while it is being deleted")
        self._measures.reserved(self.reserved_bytes)
        if ordered:
            name = request.dataset.library
            self.in_flight_files[name] += sum(self.layout.files[group] for group in ordered)
            self.in_flight_bytes[name] += sum(self.layout.bytes[group] for group in ordered)
            for reading in self.libraries[name].order(ordered, now):
                self._begin(name, reading, now)
            for group in ordered:
                self._offer(group, now)

    def _offer(self, group: int, now: int) -> None:
        """Tell who waits for the same."""
        users = self._users[group]
        for other in self._alike[users[0].dataset]:
            if other not in users and other.arrives_at <= now and other.has_more:
                other.offer(group, has_landed=self.state[group] == State.PRESENT)
                self._wake(now)

    def _begin(self, name: str, reading: Reading, now: int) -> None:
        """Bytes flow through the link, one group after the other, while they are read; they count from now on."""
        size = self.layout.bytes[reading.group]
        self._measures.on_disk(size, now)
        self._measures.recalled(size)
        self._link_free_at = max(self._link_free_at, reading.begins)
        delay = max(0, self._link_free_at - reading.begins)
        self._link_free_at += microseconds(size / self.scenario.disk.bytes_s)
        for request in self._users[reading.group]:
            if request.first_at is None:
                request.first_at = reading.first_at + delay
        self._tell(reading.ends, _Kind.READ, self._names.index(name), reading.drive)
        self._tell(max(reading.ends, self._link_free_at), _Kind.LANDED, reading.group)

    def _read(self, name: str, drive: int, now: int) -> None:
        if (reading := self.libraries[name].read(drive, now)) is not None:
            self._begin(name, reading, now)

    def _land(self, group: int, now: int) -> None:
        self.state[group] = State.PRESENT
        size, files = self.layout.bytes[group], self.layout.files[group]
        users = self._users[group]
        name = users[0].dataset.library
        self.in_flight_files[name] -= files
        self.in_flight_bytes[name] -= size
        self._payers[group].in_flight -= files
        self._offer(group, now)
        for request in users:
            self._deliver(request, group, now)
        self._wake(now)

    def _deliver(self, request: Request, group: int, now: int) -> None:
        if request.first_at is None:
            request.first_at = now
        self._measures.delivered(request, self.layout.bytes[group], now)
        self._tell(request.process(group, now), _Kind.PROCESSED, request.number, group)

    def _end(self, request: Request, group: int, now: int) -> None:
        """The group was processed."""
        if not self._strategy.keeps_datasets:
            self._release(request, group, now)
        self._count(request, 1, now)
        if self._strategy.keeps_datasets and request.ended_at is not None:
            for held in range(request.dataset.start, request.dataset.stop):
                self._release(request, held, now)

    def _count(self, request: Request, groups: int, now: int) -> None:
        request.ended += groups
        if request.ended == request.groups:
            request.ended_at = now

    def _release(self, request: Request, group: int, now: int) -> None:
        users = self._users[group]
        users.remove(request)
        request.pinned_bytes -= self.layout.bytes[group]
        request.pinned_files -= self.layout.files[group]
        if users:
            return
        del self._users[group]
        self.state[group] = State.DELETING
        at = now + microseconds(self.scenario.disk.deletion_s)
        self._tell(at, _Kind.GONE, request.number, group)

    def _gone(self, group: int, now: int) -> None:
        """What was deleted counts for whom it was admitted, until now."""
        self.state[group] = State.ABSENT
        size = self.layout.bytes[group]
        payer = self._payers.pop(group)
        payer.held_bytes -= size
        payer.held_files -= self.layout.files[group]
        self.reserved_bytes -= size
        self.reserved_files -= self.layout.files[group]
        self._measures.on_disk(-size, now)
        self._wake(now)
