"""A carousel in memory, moved by the engine's rules alone: whatever lands, fails or ends first, all of it ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from idds.domain.identifiers import CollectionId, ContentId, RequestId, WindowId
from idds.domain.replica import Window
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.engine.planner import Demand, Plan, Policy, Standing, plan
from idds.engine.transitions import CONTENT, PINNABLE, PINNING, REPLICA, ContentEvent, ReplicaEvent
from idds.engine.window import Candidate, Wanted

C, R = ContentStatus, ReplicaStatus


@dataclass
class File:
    size: int
    status: ReplicaStatus = R.GONE
    readable: bool = True


@dataclass
class Piece:
    file: int
    status: ContentStatus = C.NEW
    pins: bool = False


@dataclass
class Input:
    """A request's files, in groups that are processed together, behind a window of its own."""

    groups: list[list[Piece]]
    limit: int | None
    charged: set[int] = field(default_factory=set)
    """Files whose bytes were reserved in this input's window."""

    @property
    def pieces(self) -> list[Piece]:
        return [piece for group in self.groups for piece in group]


class Carousel:
    def __init__(self, files: list[File], inputs: list[Input], disk: int) -> None:
        self.files, self.inputs, self.disk = files, inputs, disk

    def reserved(self, of: Input | None = None) -> int:
        live = (no for no, file in enumerate(self.files) if file.status is not R.GONE)
        return sum(self.files[no].size for no in live if of is None or no in of.charged)

    def move(self, piece: Piece, event: ContentEvent) -> None:
        edge = CONTENT[event]
        assert piece.status in edge.sources
        piece.status = edge.target
        if piece.status not in PINNING and piece.pins:
            piece.pins = False
            self.release(piece.file)

    def turn(self, no: int, event: ReplicaEvent) -> None:
        edge = REPLICA[event]
        assert self.files[no].status in edge.sources
        self.files[no].status = edge.target
        if edge.target is R.GONE:
            for each in self.inputs:
                each.charged.discard(no)

    def pins_on(self, no: int) -> list[Piece]:
        return [piece for each in self.inputs for piece in each.pieces if piece.pins and piece.file == no]

    def release(self, no: int) -> None:
        if not self.pins_on(no) and self.files[no].status in REPLICA[ReplicaEvent.RELEASED].sources:
            self.turn(no, ReplicaEvent.RELEASED)

    def plan(self, inputs: Sequence[Input]) -> Plan:
        """Plan for these inputs, and do what was planned."""
        disk = Window(WindowId(1), "rse", "DISK", self.disk, self.reserved(), None, 0)
        standing = Standing("DISK", disk, tuple(self._demand(number, each) for number, each in enumerate(inputs)))
        made = plan(standing, Policy(), now=0)
        for refusal in made.refusals:
            for piece in filter(_waits, inputs[refusal.demand.collection].groups[refusal.group.group_no]):
                self.move(piece, ContentEvent.FAILED)
        for admission in made.admissions:
            of = inputs[admission.demand.collection]
            if not all(self._takes_pins(of, group) for group in admission.groups):
                continue  # what another one was given just now came back before: somebody was faster
            for candidate in admission.groups:
                for piece in of.groups[candidate.group_no]:
                    self._admit(of, piece)
        return made

    def _takes_pins(self, of: Input, group: Candidate) -> bool:
        return all(self.files[piece.file].status is not R.DELETING for piece in of.groups[group.group_no])

    def _demand(self, number: int, of: Input) -> Demand:
        own = None
        if of.limit is not None:
            own = Window(WindowId(2), "collection", str(number), of.limit, self.reserved(of), None, 0)
        waiting = [(no, group) for no, group in enumerate(of.groups) if any(_waits(piece) for piece in group)]
        heads = tuple(Candidate(no, tuple(self._wanted(of, group))) for no, group in waiting)
        flying = sum(self.files[no].status in (R.ADMITTED, R.STAGING) for no in of.charged)
        held = self.reserved(of)
        identifier = CollectionId(number)
        return Demand(
            identifier, RequestId(number), held_bytes=held, held_files=held, in_flight=flying, window=own, heads=heads
        )

    def _wanted(self, of: Input, group: Sequence[Piece]) -> Iterator[Wanted]:
        for number, piece in enumerate(group):
            file = self.files[piece.file]
            yield Wanted(
                ContentId(number), str(piece.file), file.size, file.status in PINNABLE, file.status is R.DELETING
            )

    def _admit(self, of: Input, piece: Piece) -> None:
        file = self.files[piece.file]
        if file.status is R.GONE:
            self.turn(piece.file, ReplicaEvent.ADMITTED)
            of.charged.add(piece.file)
        assert file.status in PINNABLE
        piece.pins = True
        if file.status is R.PRESENT:
            self.move(piece, ContentEvent.LANDED)

    def happenings(self) -> list[tuple[str, int]]:
        """What may happen next outside: to a file, or to a group of an input (numbered through)."""
        found = [
            (str(file.status), no)
            for no, file in enumerate(self.files)
            if file.status in (R.ADMITTED, R.STAGING, R.DELETING)
        ]
        groups = [group for each in self.inputs for group in each.groups]
        found += [("process", no) for no, group in enumerate(groups) if _is_ready(group)]
        return found

    def happen(self, what: str, no: int, ends_well: bool) -> None:
        match what:
            case R.ADMITTED:
                self.turn(no, ReplicaEvent.RECALLED)
                self.release(no)
            case R.STAGING if self.files[no].readable:
                self.turn(no, ReplicaEvent.LANDED)
                for piece in self.pins_on(no):
                    self.move(piece, ContentEvent.LANDED)
            case R.STAGING:
                for piece in self.pins_on(no):
                    self.move(piece, ContentEvent.FAILED)
            case R.DELETING:
                self.turn(no, ReplicaEvent.DELETED)
            case "process":
                group = [group for each in self.inputs for group in each.groups][no]
                taken = [piece for piece in group if piece.status is C.AVAILABLE]
                for piece in taken:
                    self.move(piece, ContentEvent.LEASED)
                for piece in taken:
                    self.move(piece, ContentEvent.PROCESSED if ends_well else ContentEvent.FAILED)

    def check(self) -> None:
        assert self.reserved() <= self.disk
        for each in self.inputs:
            assert each.limit is None or self.reserved(each) <= each.limit
            for group in each.groups:
                # All or nothing.
                assert len({piece.pins for piece in group if not piece.status.is_terminal}) <= 1
                assert not any(piece.pins and self.files[piece.file].status is R.GONE for piece in group)


def _waits(piece: Piece) -> bool:
    return piece.status is C.NEW and not piece.pins


def _is_ready(group: list[Piece]) -> bool:
    return any(p.status is C.AVAILABLE for p in group) and not any(p.status is C.NEW for p in group)


@st.composite
def carousels(draw: st.DrawFn) -> Carousel:
    files = [
        File(draw(st.integers(1, 10)), readable=draw(st.integers(0, 9)) > 0) for _ in range(draw(st.integers(1, 10)))
    ]
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        numbers = draw(st.lists(st.integers(0, len(files) - 1), unique=True, max_size=len(files)))
        batch = draw(st.integers(1, 3))
        groups = [[Piece(no) for no in numbers[at : at + batch]] for at in range(0, len(numbers), batch)]
        inputs.append(Input(groups, draw(st.none() | st.integers(5, 30))))
    return Carousel(files, inputs, draw(st.integers(5, 30)))


@given(carousels(), st.data())
def test_everything_ends_whatever_comes_first(carousel: Carousel, data: st.DataObject) -> None:
    bound = 4 * len(carousel.files) * len(carousel.inputs) + 50
    for _ in range(20 * bound):
        carousel.plan(carousel.inputs)
        carousel.check()
        possible = carousel.happenings()
        if not possible:
            break
        what, no = data.draw(st.sampled_from(possible))
        carousel.happen(what, no, ends_well=data.draw(st.integers(0, 4)) > 0)
        carousel.check()
    assert all(piece.status.is_terminal for each in carousel.inputs for piece in each.pieces), "it stands still"
    assert carousel.reserved() == 0
    largest = min(carousel.disk, *(each.limit for each in carousel.inputs if each.limit is not None), 10**9)
    for each in carousel.inputs:
        for group in each.groups:
            readable = all(carousel.files[piece.file].readable for piece in group)
            if readable and sum(carousel.files[piece.file].size for piece in group) <= largest:
                # What fits and can be read was processed: it is done, or failed as one.
                assert len({piece.status for piece in group}) == 1


def test_two_inputs_that_want_each_others_files_do_not_block_each_other() -> None:
    files = [File(6), File(6), File(6)]
    one, two = Input([[Piece(0), Piece(1)]], None), Input([[Piece(1), Piece(2)]], None)
    carousel = Carousel(files, [one, two], 12)
    made = carousel.plan([one, two])
    assert [(each.demand.collection, len(each.groups)) for each in made.admissions] == [(0, 1)]
    for no in (0, 1):
        carousel.happen("admitted", no, True)
        carousel.happen("staging", no, True)
    carousel.happen("process", 0, True)
    assert [file.status for file in files] == [R.DELETING, R.DELETING, R.GONE]
    assert carousel.plan([two]).waits == {0: "of the next, '1' is being deleted"}
    for no in (0, 1):
        carousel.happen("deleting", no, True)
    assert len(carousel.plan([two]).admissions) == 1
