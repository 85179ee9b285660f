"""Rucio or FTS is away, forgets, or works badly: the reason is told, and what is left to do is done afterwards."""

import pytest

from idds.domain.statuses import Status
from tests.faults.carousel import SIZE, Deliveries, Told, collection_of, consume, said, until
from tests.servers.rucio.server import RucioServer


async def test_while_rucio_is_down_it_is_waited_for_and_that_is_told(own_rucio: RucioServer, own_told: Told) -> None:
    names = [f"down.{n}" for n in range(6)]
    own_told.tape.write(names, SIZE)
    dataset = own_told.tape.dataset("down", names)
    own_rucio.kill_rucio()
    request = await own_told.submit(dataset)
    await said(own_told.client, request, ["Rucio does not take this for now", "tried again"])
    own_rucio.start_rucio()
    ended, delivered = await own_told.deliver(request)
    assert ended.status is Status.FINISHED
    assert delivered.times == dict.fromkeys(names, 1)


async def test_a_token_that_has_ended_is_replaced(own_rucio: RucioServer, own_told: Told) -> None:
    names = [f"token.{n}" for n in range(2)]
    own_told.tape.write(names, SIZE)
    datasets = [own_told.tape.dataset(f"token.set.{name}", [name]) for name in names]
    first = await own_told.submit(datasets[0])
    await said(own_told.client, first, ["nobody has leased"])
    await own_rucio.end_tokens()
    ended, delivered = await own_told.deliver(first)
    assert (ended.status, delivered.times) == (Status.FINISHED, {names[0]: 1})
    await own_rucio.end_tokens()
    ended, delivered = await own_told.deliver(await own_told.submit(datasets[1]))
    assert (ended.status, delivered.times) == (Status.FINISHED, {names[1]: 1})


async def test_transfers_that_fts_forgot_or_lost_or_spoiled_are_made_again(
    own_rucio: RucioServer, own_told: Told
) -> None:
    names = [f"fts.{n}" for n in range(8)]
    own_told.tape.write(names, SIZE)
    dataset = own_told.tape.dataset("fts", names)
    await own_rucio.order_faults(fail=0.3, spoil=0.3, lose=0.3, times=1)
    request = await own_told.submit(dataset)
    await until(lambda: bool(own_told.tape.rules()))
    own_rucio.kill("fts")
    own_rucio.start_fts()
    await own_rucio.order_faults(fail=0.3, spoil=0.3, lose=0.3, times=1, seed=1)
    ended, delivered = await own_told.deliver(request)
    assert await own_rucio.faults()
    assert ended.status is Status.FINISHED
    assert delivered.times == dict.fromkeys(names, 1)
    assert delivered.wrong == []


async def test_a_recall_that_hangs_does_not_hold_up_the_others_and_ends_with_its_request(told: Told) -> None:
    names = [f"hang.{n}" for n in range(6)]
    told.tape.write(names[:1], SIZE, "SLOW")
    told.tape.write(names[1:], SIZE)
    request = await told.submit(told.tape.dataset("hang", names))
    collection = await collection_of(told.client, request)
    delivered = Deliveries()
    while delivered.times.total() < len(names) - 1:
        lease = await told.client.lease(collection, count=10, wait_s=5)
        await told.client.report(collection, [delivered.take(content) for content in lease.contents])
    await said(told.client, request, ["1 recall under way"])
    await told.client.cancel(request)
    await consume(told.client, collection, delivered)
    assert (await told.client.wait(request)).status is Status.CANCELLED
    await until(lambda: not told.tape.rules() and not told.tape.replicas(names))
    assert delivered.times == dict.fromkeys(names[1:], 1)


async def test_a_recall_that_hangs_is_taken_from_elsewhere_or_given_up(rucio: RucioServer, impatient: Told) -> None:
    """One file is on a tape that never ends with it, the other on another tape, too; that hangs once."""
    tape = impatient.tape
    tape.write(["stalls.nowhere"], SIZE, "SLOW")
    tape.write(["stalls.twice"], SIZE)
    tape.copy("stalls.twice", SIZE, "SLOW")
    dataset = tape.dataset("stalls", ["stalls.nowhere", "stalls.twice"])
    await rucio.order_faults(hang=1.0, times=1)
    try:
        request = await impatient.submit(dataset)
        ended, delivered = await impatient.deliver(request)
    finally:
        await rucio.order_faults()
    assert ended.status is Status.SUBFINISHED
    assert delivered.times == {"stalls.twice": 1}
    ((name, reason),) = (await impatient.failures(request)).items()
    assert name == "stalls.nowhere"
    assert reason is not None
    assert "not on disk 20 s after its recall was ordered" in reason
    contents = impatient.client.contents(await collection_of(impatient.client, request))
    (brought,) = [each.id async for each in contents if each.name == "stalls.twice"]
    told = [move.reason for move in (await impatient.client.content(brought)).moves if move.event == "stalled"]
    assert any(reason and "recalled from elsewhere" in reason for reason in told)


@pytest.mark.parametrize("kinds", [(), ("deletion-done", "transfer-done", "transfer-failed")])
async def test_events_that_are_lost_doubled_or_out_of_order_change_nothing(told: Told, kinds: tuple[str, ...]) -> None:
    names = [f"events{len(kinds)}.{n}" for n in range(3)]
    told.tape.write(names, SIZE)
    request = await told.submit(told.tape.dataset(f"events{len(kinds)}", names))
    await until(lambda: bool(told.tape.rules()))
    events = [(f"{kind} {name}", kind, name) for kind in kinds for name in names]
    for _ in range(2):
        await told.post_events(events)
    await said(told.client, request, ["nobody has leased the 3"])
    await told.post_events(events[::-1])
    ended, delivered = await told.deliver(request)
    await told.post_events(events)
    assert ended.status is Status.FINISHED
    assert delivered.times == dict.fromkeys(names, 1)
    await until(lambda: not told.tape.replicas(names))
