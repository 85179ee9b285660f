"""Hyperparameter optimization as workload managers of today do it: JEDI, the official client, payloads in the field."""

import asyncio
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt

from tests.acceptance.service import service
from tests.servers.idds_client import IddsClient
from tests.servers.mosquitto import MosquittoServer

TASK = 30_000_078
POINTS = 16
GENERATION = 8
JOBS = 4
ATTEMPTS = 2
MAGIC = 1e5
PATIENCE_S = 120
SETTINGS = """
log.level = "warning"
bus.kind = "mqtt"
bus.options.url = "{broker}"
access.open_samples.networks = ["127.0.0.1"]
access.open_samples.vo = "local"
"""
SPACE = {
    "kind": {"type": "Choice", "params": {"choices": ["good", "fair", "bad"]}},
    "x": {"type": "Scalar", "bounds": [0, 1]},
}
SEARCH = {
    "workload_id": TASK,
    "is_pseudo_input": True,
    "sandbox": None,
    "executable": "docker",
    "arguments": None,
    "output_json": "output.json",
    "max_points": POINTS,
    "num_points_per_generation": GENERATION,
    "min_unevaluated_points": JOBS,
    "opt_space": [{"model_id": model, "search_space": SPACE} for model in ("one", "two")],
}


@dataclass
class Events:
    """The events of a task as JEDI keeps them: a batch with one that is known already is rolled back, all of it."""

    mqtt: aiomqtt.Client
    models: dict[int, str] = field(default_factory=dict)
    rolled_back: int = 0

    async def listen(self, ready: asyncio.Queue[int]) -> None:
        """Until the task is to be finished."""
        async for message in self.mqtt.messages:
            body = json.loads(bytes(message.payload))  # type: ignore[arg-type]
            if int(body["workload_id"]) != TASK:
                continue
            if body["msg_type"] == "collection_hyperparameteropt":
                return
            assert body["msg_type"] == "file_hyperparameteropt"
            new = {each["name"]: json.loads(each["path"])[0][0] for each in body["files"] if each["status"] == "New"}
            assert all(type(number) is int for number in new)
            if new.keys() & self.models.keys():
                self.rolled_back += 1
                continue
            self.models |= new
            for number in new:
                ready.put_nowait(number)


async def _job(host: str, folder: Path, number: int, attempt: int) -> int:
    """What its payload exits with."""
    work = folder / f"{number}.{attempt}"
    work.mkdir()
    here = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", str(here / "field_payload.py"), f"{TASK}-1-1-{number}-{attempt}"),
        *(sys.executable, "-S", str(here / "evaluate_point.py")),
        cwd=work,
        env={"PATH": os.environ["PATH"], "IDDS_HOST": host, "TASK": str(TASK)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


@dataclass(frozen=True)
class Jobs:
    """Each evaluates one event after the other; JEDI says of the last attempt what it says."""

    client: IddsClient
    host: str
    folder: Path
    ready: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    calling: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        while True:
            number = await self.ready.get()
            for attempt in range(1, ATTEMPTS + 1):
                if await _job(self.host, self.folder, number, attempt) == 0:
                    break
            else:
                async with self.calling:
                    await self.client.call("update_hyperparameter", TASK, None, number, MAGIC)


async def test_a_search_is_evaluated_by_payloads_that_know_nothing_new(
    tmp_path: Path, mosquitto: MosquittoServer
) -> None:
    settings = tmp_path / "idds.toml"
    settings.write_text(SETTINGS.format(broker=mosquitto.url))
    async with (
        service(tmp_path / "state", "--settings", str(settings)) as running,
        IddsClient(running.url, running.token) as client,
        aiomqtt.Client("127.0.0.1", mosquitto.port) as mqtt,
    ):
        await mqtt.subscribe("idds/local/jedi", qos=1)
        request = await client.call(
            "add_request",
            requester="panda",
            request_type="RequestType.HyperParameterOpt",
            transform_tag="prodsys2",
            status="RequestStatus.New",
            lifetime=30,
            username="alice",
            request_metadata=SEARCH,
        )
        events, jobs = Events(mqtt), Jobs(client, f"{running.url}/idds", tmp_path)
        running_jobs = [asyncio.create_task(jobs.run()) for _ in range(JOBS)]
        try:
            async with asyncio.timeout(PATIENCE_S):
                await events.listen(jobs.ready)
        finally:
            for each in running_jobs:
                each.cancel()
            await asyncio.gather(*running_jobs, return_exceptions=True)
        rows = await client.call("get_hyperparameters", TASK, None)
        (shown,) = await client.call("get_requests", request)
        messages = await client.call("get_messages", request_id=request)
    assert events.rolled_back == 0
    assert {str(number) for number in events.models} == {row["id"] for row in rows}
    assert Counter(events.models.values()) == {"one": POINTS // 2, "two": POINTS // 2}
    for row in rows:
        model, point = row["parameters"]
        assert model == events.models[int(row["id"])]
        expected = MAGIC if point["kind"] == "bad" else (point["x"] - 0.3) ** 2 + (model == "two")
        assert row["loss"] == expected
    failed = sum(row["loss"] == MAGIC for row in rows)
    assert 0 < failed < POINTS, "the good and the bad"
    assert (shown["status"], shown["username"]) == ("RequestStatus.SubFinished", "alice")
    assert [each["msg_type"] for each in messages].count("collection_hyperparameteropt") == 1
    assert sum(len(each.get("files", ())) for each in messages) == POINTS
