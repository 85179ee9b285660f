"""What is admitted next to a disk RSE, of all that waits for it: the one planner, of the service and of simulations.

It takes no time of its own and draws no lots: the same standing gives the same plan. It looks at the heads of queues
only, so that what it costs does not grow with what waits behind them.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.replica import Window
from idds.engine import joining
from idds.engine.shares import Share, Turns, weight_of
from idds.engine.window import Candidate, Room, never

SLICES = 4
"""A run is no larger than this part of what it has to fit into, so that a small window is not emptied for each."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How the planner chooses; times are in microseconds.

    What is recalled from a tape comes in runs of `run_files` files or `run_bytes` bytes (None: however many). An input
    that has recalls under way waits for room for a whole run, but no longer than `patience`. One that holds nothing for
    `longest_wait` goes before all others, and what comes free is kept for it until its next group fits.
    """

    run_files: int = 10
    run_bytes: int | None = None
    patience: int = 60_000_000
    longest_wait: int = 3600_000_000


@dataclass(frozen=True, slots=True)
class Demand:
    """An input that has files waiting for admission.

    `held_bytes` and `held_files` are what it has reserved on the RSE, `in_flight` those of its files that are not on
    disk yet. `window` is its own, `tape` the tape system that its files come from (None: not known). It began to wait
    at `waiting_since`, or something of it was last admitted then; an operator who wants it next said so at `forced_at`.
    `hold` says why nothing is recalled for it, None: it is.
    `heads` are its next complete groups, in tape order; `more` says that there are others behind them. `joins` are some
    of those others all of whose files are there already, or on their way: it joins whoever has them recalled, and
    recalls less by itself. `pinned_bytes` in `pinned_files` it pins, whoever had them recalled.
    """

    collection: CollectionId
    request: RequestId
    share: str = ""
    priority: int = 0
    held_bytes: int = 0
    held_files: int = 0
    in_flight: int = 0
    window: Window | None = None
    tape: str | None = None
    waiting_since: int = 0
    forced_at: int | None = None
    hold: str | None = None
    heads: tuple[Candidate, ...] = ()
    more: bool = False
    joins: tuple[Candidate, ...] = ()
    pinned_bytes: int = 0
    pinned_files: int = 0


@dataclass(frozen=True, slots=True)
class Tape:
    """A physical tape system: recalls under way from it, and how many may be (None: any number).

    A single group of more files than that is recalled when nothing else is.
    """

    name: str
    in_flight_files: int = 0
    in_flight_bytes: int = 0
    limit_files: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand on one disk RSE. `hold` says why nothing is brought there, None: it is.

    A share that is not among `shares` has a weight of one, and holds what its demands hold.
    """

    rse: str
    window: Window | None = None
    demands: tuple[Demand, ...] = ()
    tapes: tuple[Tape, ...] = ()
    shares: tuple[Share, ...] = ()
    hold: str | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Groups of an input that are admitted; `bytes` and `files` are what they reserve."""

    demand: Demand
    groups: tuple[Candidate, ...]
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A group that no state of a window would ever admit; why."""

    demand: Demand
    group: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done now. `waits` tells of each input that has to wait why it does.

    `again_at` is when time alone changes something, None: it does not.
    """

    admissions: tuple[Admission, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    waits: Mapping[CollectionId, str] = field(default_factory=dict)
    again_at: int | None = None


def plan(standing: Standing, policy: Policy, now: int) -> Plan:
    """What is admitted now, what is refused for ever, and what everybody else waits for."""
    if standing.hold is not None:
        reason = f"RSE {standing.rse} is held: {standing.hold}"
        return Plan(waits={demand.collection: reason for demand in standing.demands})
    queues = _queues(standing, policy, now)
    for queue in sorted((each for each in queues if each.goes_first), key=_Queue.turn):
        while queue.take_run() and queue.goes_first:
            pass
    _take_turns(standing, queues, [each for each in queues if not each.goes_last])
    for each in queues:
        if not each.goes_last:
            each.keep_for_next()
    _take_turns(standing, queues, [each for each in queues if each.goes_last])
    again = [at for each in queues if (at := each.again_at) is not None and at > now and each.wait is not None]
    return Plan(
        tuple(Admission(q.demand, tuple(q.admitted), q.bytes, q.files) for q in queues if q.admitted),
        tuple(refusal for each in queues for refusal in each.refused),
        {each.demand.collection: each.wait for each in queues if each.wait is not None},
        min(again, default=None),
    )


def _take_turns(standing: Standing, queues: Sequence["_Queue"], going: Sequence["_Queue"]) -> None:
    """Have these take runs in turn, until there is no room, or nothing more that they want."""
    by_id = {each.demand.collection: each for each in going}
    claims = [(q.demand, q.bytes, q.wanted if q.demand.collection in by_id else None) for q in queues]
    turns = Turns(standing.shares, claims)
    while (turn := turns.take()) is not None:
        queue = by_id[turn]
        before = queue.bytes
        queue.take_run()
        turns.wait_again(turn, queue.bytes - before, queue.wanted)


class _Queue:
    """An input while the plan is made."""

    def __init__(self, demand: Demand, windows: Sequence[Window], rooms: Sequence[Room], policy: Policy) -> None:
        self.demand = demand
        self.groups: deque[tuple[Candidate, int, int]] = deque()
        self.admitted: list[Candidate] = []
        self.refused: list[Refusal] = []
        self.bytes = self.files = 0
        self.wait: str | None = None
        self.again_at: int | None = None
        self.goes_first = demand.forced_at is not None
        self.goes_last = False
        self._full: Room | None = None
        self._is_stopped = False
        self._rooms = rooms
        self._patient_until = 0
        self._run_files = _slice(policy.run_files, [room.limit_files for room in rooms])
        self._run_bytes = _slice(policy.run_bytes, [room.limit_bytes for room in rooms])
        for group in demand.heads:
            self._sort(group, windows)
        if not demand.heads:
            self.wait = "none of its groups is complete yet"

    def join(self, groups: Sequence[Candidate], *, goes_before_all: bool) -> None:
        """Pin these of others. Who has a run recalled by others recalls by itself when nobody else has use for it."""
        self.admitted += groups
        by_others = self.demand.pinned_files - self.demand.held_files + sum(len(group.contents) for group in groups)
        self.goes_last = by_others >= self._run_files and not goes_before_all

    def _sort(self, group: Candidate, windows: Sequence[Window]) -> None:
        size, files = group.bytes, group.files
        if reason := next(filter(None, (never(group, window) for window in windows)), None):
            self.refused.append(Refusal(self.demand, group, reason))
        elif blocked := next((wanted for wanted in group.contents if wanted.blocked), None):
            self.wait = f"of the next, {blocked.name!r} is being deleted"
        elif files == 0:
            # It is there, or comes for somebody else: whoever pins it now need not have it recalled once more.
            self.admitted.append(group)
        else:
            self.groups.append((group, size, files))

    def watch(self, policy: Policy, now: int) -> None:
        """Time counts: how long it has waited."""
        since, holds_nothing = self.demand.waiting_since, not self.demand.held_files
        self._patient_until = since + policy.patience if since + policy.patience > now else 0
        if holds_nothing and self.groups:
            self.goes_first = self.goes_first or since + policy.longest_wait <= now
            self.again_at = since + policy.longest_wait
        self.goes_last = self.goes_last and not self.goes_first

    def turn(self) -> tuple[bool, int, CollectionId]:
        """Its turn among those that go first: the forced ones in the order they were, then who waits the longest."""
        forced = self.demand.forced_at
        return forced is None, self.demand.waiting_since if forced is None else forced, self.demand.collection

    @property
    def wanted(self) -> int | None:
        """How many bytes it takes next, None where that is nothing, or has no room."""
        return self.groups[0][1] if self.groups and not self._is_stopped else None

    def hold(self, reason: str) -> None:
        """Nothing that costs is admitted of it."""
        if self.groups:
            self.groups.clear()
            self.wait = reason

    def take_run(self) -> bool:
        """Admit a run of it, if there is room; else note what it waits for."""
        size = files = number = 0
        full: str | None = None
        for _, more_bytes, more_files in self.groups:
            full = self._why_not(size + more_bytes, files + more_files, number + 1)
            if full is not None:
                break
            size, files, number = size + more_bytes, files + more_files, number + 1
            if files >= self._run_files or size >= self._run_bytes:
                break
        self._is_stopped = full is not None and not self._may_take_less(number)
        if full is not None and self._is_stopped:
            self.wait = full if not number else self._wait_for_run(full)
            return False
        self._admit(number, size, files)
        return number > 0

    def _why_not(self, size: int, files: int, groups: int) -> str | None:
        for room in self._rooms:
            if (reason := room.why_not(size, files, groups)) is not None:
                self._full = room
                return reason
        return None

    def _may_take_less(self, number: int) -> bool:
        """Whether a part of a run is taken where there is no room for all of it."""
        if number == 0:
            if self.goes_first:
                self._keep_room()
            return False
        return self.goes_first or not (self.demand.in_flight + self.files) or not self._patient_until

    def _wait_for_run(self, full: str) -> str:
        self.again_at = self._patient_until
        return f"room for a run of files is gathered: {full}"

    def keep_for_next(self) -> None:
        """What it has no room in is not for those who have others recall for them."""
        if self._is_stopped and self._full is not None and self._full.is_shared and self._full.kept_for is None:
            self._full.kept_for = "those whose files nobody else recalls"

    def _keep_room(self) -> None:
        _, size, files = self.groups[0]
        for room in self._rooms:
            if room.is_shared and room.kept_for is None and not room.fits(size, files):
                room.kept_for = f"request {self.demand.request}, whose turn it is"

    def _admit(self, number: int, size: int, files: int) -> None:
        for _ in range(number):
            self.admitted.append(self.groups.popleft()[0])
        self.bytes += size
        self.files += files
        # Whoever waited the longest holds something now; who is forced goes on.
        self.goes_first = self.demand.forced_at is not None
        for room in self._rooms:
            room.take(size, files)


def _queues(standing: Standing, policy: Policy, now: int) -> list[_Queue]:
    of_rse = Room.of(standing.window) if standing.window is not None else None
    quotas = {share.name: (share.quota, Room.of(share.quota)) for share in standing.shares if share.quota is not None}
    tapes = {tape.name: _room_of(tape) for tape in standing.tapes}
    before_all = _before_all(standing)
    queues = []
    for demand in standing.demands:
        quota, of_share = quotas.get(demand.share, (None, None))
        of_tape = tapes.get(demand.tape or "")
        own = Room.of(demand.window, is_shared=False) if demand.window is not None else None
        windows = [window for window in (standing.window, quota, demand.window) if window is not None]
        rooms = [room for room in (of_rse, of_share, own, of_tape) if room is not None]
        queue = _Queue(demand, windows, rooms, policy)
        pinned = demand.pinned_bytes, demand.pinned_files
        joined = joining.choose(demand.joins, windows, standing.window, len(standing.demands), pinned)
        queue.join(joined, goes_before_all=demand.collection in before_all)
        if demand.hold is not None:
            queue.hold(demand.hold)
        queue.watch(policy, now)
        queues.append(queue)
    return queues


def _before_all(standing: Standing) -> set[CollectionId]:
    """Who does not wait for those that recall for it: express ones, and one of more weight than all others."""
    shares = {share.name: share for share in standing.shares}
    found, weights = set(), {}
    for demand in standing.demands:
        share = shares.get(demand.share, Share(demand.share))
        weights[demand.collection] = share.weight * weight_of(demand.priority)
        if share.is_express:
            found.add(demand.collection)
    most = max(weights.values(), default=0.0)
    heaviest = [each for each, weight in weights.items() if weight == most]
    return found | set(heaviest if len(heaviest) == 1 else ())


def _room_of(tape: Tape) -> Room:
    return Room(
        f"tape {tape.name}",
        bytes=tape.in_flight_bytes,
        limit_files=tape.limit_files,
        files=tape.in_flight_files,
        taken="in flight",
        yields_to_one=True,
    )


def _slice(wanted: int | None, limits: Sequence[int | None]) -> float:
    """The size of a run: as the policy has it, but no more than a part of any limit."""
    parts = [max(1, limit // SLICES) for limit in limits if limit is not None]
    return min([*parts, *([] if wanted is None else [wanted])], default=float("inf"))
