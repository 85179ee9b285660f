"""Who is recalled when: whole datasets, a fixed window for each request, or as the service plans it."""

from dataclasses import replace

from idds.domain.identifiers import CollectionId, ContentId, RequestId, WindowId
from idds.domain.replica import Window
from idds.engine.planner import Demand, Policy, Standing, Tape, plan
from idds.engine.shares import Share
from idds.engine.window import Candidate, Wanted
from idds.simulation.carousel import Carousel, Choice, State
from idds.simulation.library import microseconds
from idds.simulation.requests import Request
from idds.simulation.scenario import Planning

HEADS = JOINS = 64


class WholeDatasets:
    """As it is done without a window: a dataset is asked for at once, and kept until its request has ended."""

    name = "whole datasets"
    keeps_datasets = True

    def choose(self, carousel: Carousel, now: int) -> Choice:
        choice = Choice([], [])
        for request in carousel.requests:
            if request.arrives_at <= now and request.is_waiting and not _is_going(carousel, request):
                choice.admitted.append((request, request.take_all()))
        return choice


class FixedWindows:
    """Each request slides through a fixed part of the disk, one group after the other, and deletes what was processed.

    The parts are equal, so that all of them together never need more than the disk has.
    """

    name = "fixed windows"
    keeps_datasets = False

    def choose(self, carousel: Carousel, now: int) -> Choice:
        disk = carousel.scenario.disk
        limit = disk.window_bytes // len(carousel.requests)
        choice = Choice([], [])
        for request in carousel.requests:
            if request.arrives_at > now or not request.is_waiting:
                continue
            admitted: list[int] = []
            size = request.held_bytes
            for group in request.refill(HEADS):
                more = carousel.layout.bytes[group]
                if more > limit:
                    choice.refused.append((request, [group]))
                    continue
                if carousel.state[group] != State.ABSENT:
                    more = 0
                if size + more > limit or carousel.state[group] == State.DELETING:
                    break
                admitted.append(group)
                size += more
            if admitted:
                choice.admitted.append((request, admitted))
            if len(admitted) == len(request.heads) and request.has_more:
                choice = Choice(choice.admitted, choice.refused, now)
        return choice


class Planned:
    """As the service does it: its planner, asked with what the service would tell it."""

    name = "planned"
    keeps_datasets = False

    def __init__(self, planning: Planning) -> None:
        self._policy = policy_of(planning)

    def choose(self, carousel: Carousel, now: int) -> Choice:
        waiting = [request for request in carousel.requests if request.arrives_at <= now and request.is_waiting]
        if not waiting:
            return Choice([], [])
        found = plan(self._standing(carousel, waiting), self._policy, now)
        admitted = [
            (carousel.requests[each.demand.request], [group.group_no for group in each.groups])
            for each in found.admissions
        ]
        refused = [(carousel.requests[each.demand.request], [each.group.group_no]) for each in found.refusals]
        ran_out = any(
            request.has_more and (len(groups) >= JOINS or set(request.heads) <= set(groups))
            for request, groups in admitted
        )
        return Choice(admitted, refused, now if ran_out or refused else found.again_at)

    def _standing(self, carousel: Carousel, waiting: list[Request]) -> Standing:
        disk = carousel.scenario.disk
        window = Window(
            WindowId(0),
            "rse",
            "DISK",
            disk.window_bytes,
            carousel.reserved_bytes,
            disk.window_files,
            carousel.reserved_files,
        )
        tapes = tuple(
            Tape(name, carousel.in_flight_files[name], carousel.in_flight_bytes[name], library.in_flight)
            for name, library in carousel.scenario.libraries.items()
        )
        demands = tuple(self._demand(carousel, request) for request in waiting)
        return Standing("DISK", window, demands, tapes, tuple(_shares(carousel)))

    def _demand(self, carousel: Carousel, request: Request) -> Demand:
        # Two runs: who has taken all of them is asked again at once.
        heads = max(2, 2 * self._policy.run_files // request.batch)
        candidates = tuple(_candidate(carousel, group) for group in request.refill(heads))
        joins = tuple(_candidate(carousel, group) for group in request.joins(carousel.is_pinnable, JOINS))
        return Demand(
            collection=CollectionId(request.number),
            request=RequestId(request.number),
            share=request.asked.share,
            priority=request.asked.priority,
            held_bytes=request.held_bytes,
            held_files=request.held_files,
            in_flight=request.in_flight,
            tape=request.dataset.library,
            waiting_since=request.waiting_since,
            heads=candidates,
            more=request.has_more,
            joins=joins,
            pinned_bytes=request.pinned_bytes,
            pinned_files=request.pinned_files,
        )


def policy_of(planning: Planning) -> Policy:
    """The service's own, but for what the scenario says."""
    policy = Policy()
    if planning.run_files is not None:
        policy = replace(policy, run_files=planning.run_files)
    if planning.run_bytes is not None:
        policy = replace(policy, run_bytes=planning.run_bytes)
    if planning.patience_s is not None:
        policy = replace(policy, patience=microseconds(planning.patience_s))
    if planning.longest_wait_s is not None:
        policy = replace(policy, longest_wait=microseconds(planning.longest_wait_s))
    return policy


def _candidate(carousel: Carousel, group: int) -> Candidate:
    """All files of a group are alike: one record serves for all of them."""
    size, files = carousel.layout.bytes[group], carousel.layout.files[group]
    state = carousel.state[group]
    wanted = Wanted(
        ContentId(group),
        f"group {group}",
        -(-size // files),
        is_pinnable=carousel.is_pinnable(group),
        blocked=state == State.DELETING,
        is_present=state == State.PRESENT,
    )
    return Candidate(group, (wanted,) * files)


def _shares(carousel: Carousel) -> list[Share]:
    held = {name: [0, 0] for name in ("", *carousel.scenario.shares)}
    for request in carousel.requests:
        held[request.asked.share][0] += request.held_bytes
        held[request.asked.share][1] += request.held_files
    shares = [Share("", held_bytes=held[""][0])]
    for name, share in carousel.scenario.shares.items():
        size, files = held[name]
        quota = None
        if share.quota_bytes is not None:
            quota = Window(WindowId(0), "share", name, share.quota_bytes, size, None, files)
        shares.append(Share(name, share.weight, share.is_express, size, quota))
    return shares


def _is_going(carousel: Carousel, request: Request) -> bool:
    return any(carousel.state[group] == State.DELETING for group in range(request.dataset.start, request.dataset.stop))
