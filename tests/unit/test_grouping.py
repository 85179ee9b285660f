"""Grouping: every order is served once, in order, never two groups of one thing at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.errors import NotFound, Unavailable
from idds.services.grouping import Grouping

MOST = 5
POISON, REFUSED, DOWN = "poison", "refused", "down"
ERRORS = {POISON: ZeroDivisionError, REFUSED: NotFound, DOWN: Unavailable}


@dataclass(frozen=True)
class Ordered:
    thing: int
    number: int
    size: int
    kind: str = ""


class Served:
    """Serves slowly, and notes what it was given."""

    def __init__(self, steps: int, most: int = MOST) -> None:
        self.steps = steps
        self.most = most
        self.faults: list[str] = []
        self.groups: dict[int, list[list[Ordered]]] = defaultdict(list)
        self.under_way: set[int] = set()

    async def serve(self, thing: int, orders: Sequence[Ordered]) -> Sequence[int | Exception]:
        # Noted, for an error raised here would be told to who ordered.
        if thing in self.under_way:
            self.faults.append(f"two groups of {thing} at a time")
        if not orders or (len(orders) > 1 and sum(order.size for order in orders) > self.most):
            self.faults.append(f"a group of {orders}")
        self.under_way.add(thing)
        try:
            for _ in range(self.steps):
                await asyncio.sleep(0)
            kinds = {order.kind for order in orders}
            if DOWN in kinds:
                raise Unavailable("down")
            if POISON in kinds:
                raise ZeroDivisionError
            self.groups[thing].append(list(orders))
        finally:
            self.under_way.remove(thing)
        return [NotFound("no") if order.kind == REFUSED else order.number for order in orders]


things = st.integers(0, 2)
acts = st.one_of(
    st.builds(Ordered, things, st.just(0), st.integers(1, 7), st.sampled_from([""] * 5 + [POISON, REFUSED, DOWN])),
    st.just("turn"),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
)


@given(plan=st.lists(acts, max_size=40), steps=st.integers(0, 4))
def test_each_is_served_once_and_in_order(plan: list[Ordered | str | tuple[str, int]], steps: int) -> None:
    asyncio.run(_carry_out(plan, steps))


async def _carry_out(plan: list[Ordered | str | tuple[str, int]], steps: int) -> None:
    served = Served(steps)
    grouping: Grouping[int, Ordered, int] = Grouping(served.serve, MOST, lambda order: order.size)
    ordered: list[Ordered] = []
    tasks: list[asyncio.Task[int]] = []
    cancelled: set[int] = set()
    for act in plan:
        match act:
            case Ordered():
                order = Ordered(act.thing, len(tasks), act.size, act.kind)
                ordered.append(order)
                tasks.append(asyncio.create_task(grouping.order(order.thing, order)))
            case (_, int(number)) if number < len(tasks):
                if tasks[number].cancel():
                    cancelled.add(number)
            case _:
                await asyncio.sleep(0)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await grouping.close()
    assert not served.faults
    for order, answer in zip(ordered, answers, strict=True):
        if order.number in cancelled:
            assert isinstance(answer, asyncio.CancelledError)
        elif not isinstance(answer, Unavailable):  # which befalls a whole group
            assert isinstance(answer, ERRORS[order.kind]) if order.kind else answer == order.number
    for groups in served.groups.values():
        numbers = [order.number for group in groups for order in group]
        assert numbers == sorted(set(numbers))
    done = {order.number for groups in served.groups.values() for group in groups for order in group}
    assert {n for n, answer in enumerate(answers) if answer == n} <= done
    assert len(asyncio.all_tasks()) == 1


async def test_what_comes_meanwhile_goes_together() -> None:
    served = Served(3, most=100)
    grouping: Grouping[int, Ordered, int] = Grouping(served.serve, 100, lambda order: order.size)
    first = asyncio.create_task(grouping.order(1, Ordered(1, 0, 1)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(grouping.order(1, Ordered(1, n, 1))) for n in range(1, 50)]
    assert await asyncio.gather(first, *rest) == list(range(50))
    assert [len(group) for group in served.groups[1]] == [1, 49]
    await grouping.close()


async def test_who_breaks_a_group_breaks_alone() -> None:
    served = Served(1, most=100)
    grouping: Grouping[int, Ordered, int] = Grouping(served.serve, 100, lambda order: order.size)
    orders = [Ordered(1, n, 1, POISON if n == 2 else "") for n in range(5)]
    tasks = [asyncio.create_task(grouping.order(1, order)) for order in orders]
    with pytest.raises(ZeroDivisionError):
        await tasks[2]
    assert [await task for n, task in enumerate(tasks) if n != 2] == [0, 1, 3, 4]
    await grouping.close()


async def test_when_it_is_stopped_nobody_is_left_waiting() -> None:
    served = Served(10**9)
    grouping: Grouping[int, Ordered, int] = Grouping(served.serve, 1, lambda order: order.size)
    tasks = [asyncio.create_task(grouping.order(1, Ordered(1, n, 1))) for n in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    [serving] = [task for task in asyncio.all_tasks() if task.get_name() == "orders of 1"]
    serving.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
    await grouping.close()


async def test_those_who_were_served_together_come_back_together() -> None:
    """A payload reports as soon as it has its answer: without a pause the first of a crowd would be served alone."""
    served = Served(0, most=100)

    async def serve(thing: int, orders: Sequence[Ordered]) -> Sequence[int | Exception]:
        await asyncio.sleep(0.02)  # who takes no time needs no pause
        return await served.serve(thing, orders)

    grouping: Grouping[int, Ordered, int] = Grouping(serve, 100, lambda order: order.size)

    async def consumer(number: int) -> None:
        for turn in range(3):
            await grouping.order(1, Ordered(1, 10 * turn + number, 1))
            for _ in range(number):
                await asyncio.sleep(0)

    await asyncio.gather(*(consumer(number) for number in range(4)))
    assert [len(group) for group in served.groups[1]] == [4, 4, 4]
    await grouping.close()
