"""What is asked for cannot be had, or not as a whole: the reason is told, and all else is delivered."""

import asyncio
import itertools

import pytest

from idds.domain.statuses import Status
from idds.domain.workflow import WindowLimits
from tests.faults.carousel import SIZE, Told, said, until, why


@pytest.mark.parametrize("dataset", ["test:never.made", "nowhere:never.made"])
async def test_a_dataset_or_scope_that_rucio_does_not_know(told: Told, dataset: str) -> None:
    request = await told.submit(dataset)
    ended = await told.client.wait(request)
    assert ended.status is Status.FAILED
    assert f"{dataset} is not known to Rucio" in await why(told.client, request)


async def test_files_without_a_replica_anywhere_fail_with_their_reason(told: Told) -> None:
    told.tape.write(["nowhere.lost", "nowhere.there"], SIZE)
    dataset = told.tape.dataset("nowhere", ["nowhere.lost", "nowhere.there"])
    told.tape.hide("nowhere.lost")
    request = await told.submit(dataset)
    ended, delivered = await told.deliver(request)
    assert ended.status is Status.SUBFINISHED
    assert delivered.times == {"nowhere.there": 1}
    (reason,) = (await told.failures(request)).values()
    assert reason is not None
    assert "source" in reason.lower()
    assert reason in await why(told.client, request)


async def test_a_group_that_is_larger_than_the_window_is_refused_with_its_name(told: Told) -> None:
    names = [f"large.{n}" for n in range(4)]
    told.tape.write(names, SIZE)
    dataset = told.tape.dataset("large", names)
    request = await told.submit(dataset, batch=2, window=WindowLimits(bytes=SIZE))
    ended, delivered = await told.deliver(request)
    assert ended.status is Status.FAILED
    assert not delivered.times
    failures = await told.failures(request)
    assert failures.keys() == set(names)
    assert all(reason and "large." in reason and "window" in reason for reason in failures.values())


async def test_a_file_whose_bytes_are_not_the_catalogues_is_never_delivered(told: Told) -> None:
    names = [f"spoiled.{n}" for n in range(3)]
    told.tape.write(names, SIZE)
    path = told.tape.path("spoiled.1")
    path.write_bytes(path.read_bytes()[::-1])
    request = await told.submit(told.tape.dataset("spoiled", names))
    ended, delivered = await told.deliver(request)
    assert ended.status is Status.SUBFINISHED
    assert delivered.times == {"spoiled.0": 1, "spoiled.2": 1}
    assert delivered.wrong == []
    (reason,) = (await told.failures(request)).values()
    assert reason is not None
    assert "CHECKSUM MISMATCH" in reason
    assert reason in await why(told.client, request)


async def test_a_rule_of_the_same_account_that_ends_just_now_is_outlived(told: Told) -> None:
    told.tape.write(["dying.0"], SIZE)
    dataset = told.tape.dataset("dying", ["dying.0"])
    rule = told.tape.add_rule("dying.0")
    await until(lambda: told.tape.state(rule) == "OK")
    told.tape.end_rule(rule)
    ended, delivered = await told.deliver(await told.submit(dataset))
    assert ended.status is Status.FINISHED
    assert delivered.times == {"dying.0": 1}


async def test_what_the_quota_has_no_room_for_waits_with_the_reason_until_there_is_room(told: Told) -> None:
    names = [f"much.{n}" for n in range(4)]
    told.tape.write(names, SIZE)
    dataset = told.tape.dataset("much", names)
    # Less than one file: Rucio counts what an account holds some time after, so that more orders get through.
    told.tape.allow(SIZE - 1)
    try:
        request = await told.submit(dataset)
        await said(told.client, request, ["quota"])
        assert told.tape.rules() == []
    finally:
        told.tape.allow(-1)
    ended, delivered = await told.deliver(request)
    assert ended.status is Status.FINISHED
    assert delivered.times == dict.fromkeys(names, 1)


async def test_a_file_that_somebody_deletes_from_rucio_half_way_is_recalled_again(told: Told) -> None:
    told.tape.write(["deleted.0"], SIZE)
    request = await told.submit(told.tape.dataset("deleted", ["deleted.0"]))
    await said(told.client, request, ["nobody has leased"])
    (rule,) = told.tape.rules()
    told.tape.end_rule(rule)
    await until(lambda: not told.tape.replicas(["deleted.0"]))
    async with asyncio.timeout(60):
        for number in itertools.count():
            # What is told of a file that landed within seconds is taken for its landing.
            await told.post_events([(f"deleted-{number}", "deletion-done", "deleted.0")])
            if await asyncio.to_thread(told.tape.rules):
                break
    ended, delivered = await told.deliver(request)
    assert ended.status is Status.FINISHED
    assert delivered.times == {"deleted.0": 1}
    assert delivered.wrong == []
