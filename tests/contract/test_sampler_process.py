"""The samplers' process: real, and killed on order."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from idds.domain.identifiers import CollectionId
from idds.domain.space import Parameter
from idds.domain.workflow import Samples
from idds.ports.sampler import Known, Order, Origin, SamplerFailure, State
from idds.search import process as module
from idds.search.process import SamplerProcess
from idds.search.processes import SamplerProcesses

STUDY, OTHER = CollectionId(1), CollectionId(2)
SAMPLES = Samples(space={"x": Parameter(type="float", low=0, high=1)}, count=10)


@pytest.fixture
async def sampler() -> AsyncIterator[SamplerProcess]:
    found = SamplerProcess()
    yield found
    await found.close()


def order(*numbers: int, study: CollectionId = STUDY, samples: Samples = SAMPLES, **more: Any) -> Order:
    return Order(study, samples, numbers, **more)


async def test_it_keeps_what_it_was_told(sampler: SamplerProcess) -> None:
    assert sampler.heard(STUDY) is None
    first = await sampler.ask(order(0, 1, heard=5))
    assert [each.number for each in first] == [0, 1]
    assert sampler.heard(STUDY) == 5
    done = [Known(each, State.DONE, (1.0,)) for each in first]
    assert await sampler.ask(order(2, news=done, heard=9)) != first
    assert sampler.heard(STUDY) == 9
    assert await sampler.ask(order(0, 1, heard=9)) == first, "asked again, the same"


async def test_after_its_death_it_knows_nothing_and_starts_anew(sampler: SamplerProcess) -> None:
    first = await sampler.ask(order(0))
    assert sampler._process is not None
    os.kill(sampler._process.pid, signal.SIGSTOP)
    asking = asyncio.create_task(sampler.ask(order(1)))
    await asyncio.sleep(0)
    os.kill(sampler._process.pid, signal.SIGKILL)
    with pytest.raises(SamplerFailure, match="its process died"):
        await asking
    assert sampler.heard(STUDY) is None
    assert await sampler.ask(order(0)) == first


async def test_a_study_that_breaks_it_breaks_no_other(sampler: SamplerProcess) -> None:
    await sampler.ask(order(0, heard=1))
    impossible = Samples(space=SAMPLES.space, constraints=("x > 1.0",), count=1)
    with pytest.raises(SamplerFailure, match="none of 10,000 points fulfils the constraints"):
        await sampler.ask(order(0, study=OTHER, samples=impossible))
    assert sampler.heard(OTHER) is None
    assert sampler.heard(STUDY) == 1


async def test_an_order_that_is_cancelled_leaves_no_answer_behind(sampler: SamplerProcess) -> None:
    first = await sampler.ask(order(0))
    asking = asyncio.create_task(sampler.ask(order(*range(1, 50))))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await sampler.ask(order(0)) == first


async def test_of_many_studies_the_one_that_was_asked_least_lately_is_forgotten(
    sampler: SamplerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUDIES", 1)
    await sampler.ask(order(0, heard=1))
    await sampler.ask(order(0, study=OTHER, heard=2))
    assert sampler.heard(STUDY) is None
    assert sampler.heard(OTHER) == 2
    # It is told anew, and takes what it is told for all there is.
    again = await sampler.ask(order(0, heard=3))
    assert [each.number for each in again] == [0]


async def test_one_that_takes_for_ever_is_ended(sampler: SamplerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    await sampler.ask(order(0))
    assert sampler._process is not None
    os.kill(sampler._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "LONGEST_S", 0.05)
    with pytest.raises(SamplerFailure, match="it took more than"):
        await sampler.ask(order(1))
    assert sampler._process is None


async def test_it_ends_when_the_service_does(sampler: SamplerProcess) -> None:
    await sampler.ask(order(0))
    process = sampler._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(20):
        assert await process.wait() == 0


async def test_news_alone_are_nothing_to_one_that_has_not_heard_what_was_before(sampler: SamplerProcess) -> None:
    """It died after the order was made: what is ordered next tells everything."""
    with pytest.raises(SamplerFailure, match="its process died"):
        await sampler.ask(order(3, heard=9, since=5))
    assert sampler.heard(STUDY) is None
    assert len(await sampler.ask(order(3, heard=9))) == 1
    assert len(await sampler.ask(order(4, heard=10, since=9))) == 1


async def test_what_an_order_waited_for_others_is_part_of_its_patience(
    sampler: SamplerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=iter([0.0, 5.0, 5.0, 15.0]).__next__))
    assert [each.origin for each in await sampler.ask(order(0, within_s=1e6))] == [Origin.SAMPLER]
    assert [each.origin for each in await sampler.ask(order(1, within_s=10.0))] == [Origin.FALLBACK]


async def test_of_several_processes_one_that_is_slow_holds_up_its_own_studies_only() -> None:
    sampler = SamplerProcesses(2)
    try:
        first = await sampler.ask(order(0, heard=3))
        slow, _ = sampler._processes
        assert slow._process is not None
        os.kill(slow._process.pid, signal.SIGSTOP)
        held_up = asyncio.create_task(sampler.ask(order(0, heard=4, since=3)))
        assert len(await sampler.ask(order(0, study=OTHER, heard=8))) == 1
        assert len(await sampler.ask(order(1, study=OTHER, heard=9, since=8))) == 1
        assert not held_up.done()
        os.kill(slow._process.pid, signal.SIGCONT)
        assert await held_up == first, "the same process was asked"
        assert (sampler.heard(STUDY), sampler.heard(OTHER), sampler.heard(CollectionId(3))) == (4, 9, None)
        assert [each.load for each in sampler._processes] == [(0, 1), (0, 1)]
    finally:
        await sampler.close()
