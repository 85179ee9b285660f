"""Killed between redefining a study and drawing its samples: the next goes on from there, and nothing comes twice."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from idds.domain.identifiers import CollectionId
from idds.domain.redefinition import StudyVersion
from tests.integration.api import Api, api_on
from tests.integration.test_redefining import BOWL, NARROWED, redefine, some
from tests.integration.test_studies import evaluate, loss, study

COUNT = 12


@asynccontextmanager
async def killed_before_drawing(api: Api, url: str, version: int) -> AsyncIterator[None]:
    """A transformer stands between a version and its samples meanwhile; then it is killed, and its claim over."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.sampling_victim"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            process.stdin.write(json.dumps({"url": url, "version": version}).encode())
            process.stdin.close()
            assert await process.stdout.readline() == b"asking\n"
        yield
    finally:
        process.kill()
        await process.wait()
    claimed = "UPDATE effects SET due_at = 0 WHERE kind = 'ask' AND owner = 'dies'"
    assert await api.database.run(lambda connection: connection.exec_driver_sql(claimed).rowcount) == 1


async def found(api: Api, collection: int) -> tuple[list[StudyVersion], list[dict[str, Any]]]:
    """The versions that it was redefined to, and its samples."""
    async with api.database.snapshot() as tx:
        versions = await tx.studies.versions(CollectionId(collection), beyond=1, limit=10, characters=10**6)
    return versions, (await api.get(f"/v1/studies/{collection}/samples?limit=100"))["samples"]


async def test_an_iteration_that_was_redefined_and_not_drawn(postgres_url: str) -> None:
    async with api_on(postgres_url) as api:
        iterations = {"samples": COUNT // 2, "redefine": {}}
        collection = await api.input_of(await api.submit(study(space=BOWL, count=COUNT, iterations=iterations)))
        await some(api, collection, COUNT // 2 - 1)
        path = f"/v1/collections/{collection}/contents"
        (last,) = (await api.post(f"{path}:lease", {"count": 1, "lessee": "test"}))["contents"]
        report = {"id": last["id"], "attempt": 1, "status": "done", "objective_values": [loss(last["parameters"])]}
        await api.post(f"{path}:report", {"reports": [report]})
        async with killed_before_drawing(api, postgres_url, 2):
            versions, samples = await found(api, collection)
            assert [version.iteration for version in versions] == [2]
            assert len(samples) == COUNT // 2, "redefined, and nothing of it drawn"
        await api.advance()
        assert len(await evaluate(api, collection)) == COUNT // 2
        versions, samples = await found(api, collection)
        assert [version.iteration for version in versions] == [2], "redefined once"
        assert [sample["number"] for sample in samples] == list(range(COUNT)), "none is lost, and none drawn twice"
        assert [sample["version"] for sample in samples] == [1] * (COUNT // 2) + [2] * (COUNT // 2)
        assert {sample["status"] for sample in samples} == {"done"}


async def test_a_study_that_was_redefined_and_not_drawn(postgres_url: str) -> None:
    async with api_on(postgres_url) as api:
        collection = await api.input_of(await api.submit(study(space=BOWL, count=COUNT)))
        await some(api, collection, 3)
        await redefine(api, collection, NARROWED)
        async with killed_before_drawing(api, postgres_url, 2):
            # While the next points are being asked for it is redefined again: that order is for nothing.
            await redefine(api, collection, [{"change": "narrow", "parameter": "x", "low": 2}])
        async with killed_before_drawing(api, postgres_url, 3):
            versions, samples = await found(api, collection)
            assert [version.version for version in versions] == [2, 3]
            assert {sample["version"] for sample in samples} == {1}
        await api.advance()
        after = await evaluate(api, collection)
        assert all(2 <= each["parameters"]["x"] <= 4 for each in after)
        versions, samples = await found(api, collection)
        assert [version.version for version in versions] == [2, 3]
        assert [sample["number"] for sample in samples] == list(range(len(samples))), "none is drawn twice"
        ended = [sample["status"] for sample in samples]
        assert (ended.count("done"), ended.count("done") + ended.count("cancelled")) == (COUNT, len(samples))
        assert (await api.get(f"/v1/studies/{collection}"))["status"] == "finished"
