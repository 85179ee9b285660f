"""Studies whose sampler runs out of points: none of them is passed over, and what was not drawn holds no room."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from idds.domain.statuses import EffectKind
from idds.ports.sampler import Order, Suggestion
from idds.services.placement import Placement
from idds.services.progress import Progress
from idds.services.sources import give_up
from idds.store.integrity import disagreements
from tests.integration.api import Api, api_on
from tests.integration.test_redefining import BOWL, redefine, some
from tests.integration.test_studies import study


def grid(points: int, window: int, **work: Any) -> dict[str, Any]:
    """A grid of so many points, of which far more are asked for."""
    space = {"n": {"type": "int", "low": 1, "high": points}}
    source = {"samples": {"count": 100, "sampler": "grid", "space": space}, "window": {"files": window}}
    return {"name": "grid", "works": [{"name": "scan", "input": source, **work}]}


async def evaluate(api: Api, collection: int, most: int, *, failed: bool = False) -> list[int]:
    """Lease so many at most and report on them; which points they were."""
    path = f"/v1/collections/{collection}/contents"
    leased = (await api.post(f"{path}:lease", {"count": most, "lessee": "test"}))["contents"]
    outcome = {"status": "failed", "reason": "bad luck", "retry": False} if failed else {"status": "done"}
    reports = [{"id": each["id"], "attempt": each["attempt"], **outcome} for each in leased]
    if reports:
        await api.post(f"{path}:report", {"reports": reports})
    return [each["parameters"]["n"] for each in leased]


async def status_of(api: Api, request: int) -> str:
    assert await api.database.run(disagreements, writes=False) == []
    return str((await api.get(f"/v1/requests/{request}"))["status"])


async def test_a_grid_that_was_gone_through_is_widened_and_goes_on(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(grid(4, window=10))
        collection = await api.input_of(request)
        assert await evaluate(api, collection, 3) == [1, 2, 3]
        await redefine(api, collection, [{"change": "widen", "parameter": "n", "high": 6}])
        await api.advance()
        # The one that waited stays; the new version is gone through from its beginning.
        assert sorted(await evaluate(api, collection, 10)) == [1, 2, 3, 4, 4, 5, 6]
        await api.advance()
        assert await status_of(api, request) == "finished"


async def test_what_never_came_takes_no_room_from_what_is_tried_again(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(grid(4, window=4))
        collection = await api.input_of(request)
        await evaluate(api, collection, 4, failed=True)
        await api.advance()
        assert await status_of(api, request) == "failed"
        await api.post(f"/v1/requests/{request}:retry", {})
        await api.advance()
        assert await evaluate(api, collection, 4) == [1, 2, 3, 4]
        await api.advance()
        assert await status_of(api, request) == "finished"


async def test_an_order_that_runs_dry_waits_for_the_earlier_ones(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(grid(5, window=4))
        collection = await api.input_of(request)
        progress = Progress(api.database, Placement("local", "DISK", "DISK", 4))
        found: list[int] = []
        for _ in range(2):
            found += await evaluate(api, collection, 2)
            while await progress.step():
                pass
        # Of the two orders now the first, with the last point, is tried after the second.
        async with api.database.transaction("test") as tx:
            first, second = await tx.effects.claim(EffectKind.ASK, owner="test", lease=1, limit=2)
            assert (first.payload["first"], second.payload["first"]) == (4, 6)
            await tx.effects.postpone([second], None, delay=-2)
            await tx.effects.postpone([first], None, delay=-1)
        while await status_of(api, request) == "running":
            await api.advance()
            found += await evaluate(api, collection, 4)
        assert found == [1, 2, 3, 4, 5]
        assert await status_of(api, request) == "finished"


async def test_a_study_that_stops_while_samples_are_drawn_leaves_nothing_counted(database_url: str) -> None:
    async with api_on(database_url) as api:
        document = grid(50, window=4)
        document["works"][0]["input"]["samples"]["stop"] = {"target": 0.5}
        request = await api.submit(document)
        collection = await api.input_of(request)
        path = f"/v1/collections/{collection}/contents"
        leased = (await api.post(f"{path}:lease", {"count": 3, "lessee": "test"}))["contents"]
        progress = Progress(api.database, Placement("local", "DISK", "DISK", 4))
        for each, value in zip(leased, (1.0, 1.0, 0.0), strict=True):
            # More is asked for, and not drawn yet, as the target is reached.
            report = {"id": each["id"], "attempt": 1, "status": "done", "objective_values": [value]}
            await api.post(f"{path}:report", {"reports": [report]})
            while await progress.step():
                pass
        await api.advance()
        assert await status_of(api, request) == "finished"


async def test_a_sampler_that_breaks_after_its_study_has_stopped_ends_nothing(database_url: str) -> None:
    async with api_on(database_url) as api:
        document = grid(50, window=4)
        document["works"][0]["input"]["samples"]["stop"] = {"target": 0.5}
        request = await api.submit(document)
        collection = await api.input_of(request)
        path = f"/v1/collections/{collection}/contents"
        leased = (await api.post(f"{path}:lease", {"count": 4, "lessee": "test"}))["contents"]
        reports = [{"id": each["id"], "attempt": 1, "status": "done", "objective_values": [0.0]} for each in leased]
        progress = Progress(api.database, Placement("local", "DISK", "DISK", 4))
        await api.post(f"{path}:report", {"reports": [{**reports[0], "objective_values": [1.0]}]})
        while await progress.step():
            pass
        async with api.database.transaction("test") as tx:
            [claimed] = await tx.effects.claim(EffectKind.ASK, owner="test", lease=1_000_000, limit=1)
        await api.post(f"{path}:report", {"reports": [reports[1]]})
        while await progress.step():
            pass
        async with api.database.transaction("test") as tx:
            await give_up(tx, claimed, "input/samples", "the sampler breaks on it")
        await api.post(f"{path}:report", {"reports": reports[2:]})
        await api.advance()
        assert await status_of(api, request) == "finished"


async def test_a_sampler_that_learns_may_have_no_more_points_either(sqlite_url: str) -> None:
    """All that it has drawn came back before it said so: nothing else tells the study that it has ended."""
    async with api_on(sqlite_url) as api:
        api.samplers["tpe"].ask = _at_most(3, api.samplers["random"].ask)  # type: ignore[method-assign]
        workflow = study(space=BOWL)
        workflow["works"][0]["input"]["window"]["files"] = 1
        request = await api.submit(workflow)
        await some(api, await api.input_of(request), 3)
        assert await status_of(api, request) == "finished"


def _at_most(number: int, ask: Callable[[Order], Awaitable[Sequence[Suggestion]]]) -> Any:
    async def asked(order: Order) -> Sequence[Suggestion]:
        return [each for each in await ask(order) if each.number < number]

    return asked
