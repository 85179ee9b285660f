"""Hyperparameter optimization as workload managers of today do it: JEDI, the official client, payloads in the field."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from tests.acceptance.field_payload import NOBODY_THERE
from tests.acceptance.service import Running, start
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
                assert new.keys() <= self.models.keys(), "with what is told again something new is rolled back"
                continue
            self.models |= new
            for number in new:
                ready.put_nowait(number)


async def _job(host: str, folder: Path, number: int, attempt: int) -> int:
    """What its payload exits with."""
    work = folder / f"{number}.{attempt}"
    work.mkdir(exist_ok=True)
    here = Path(__file__).parent
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", str(here / "field_payload.py"), f"{TASK}-1-1-{number}-{attempt}"),
        *(sys.executable, "-S", str(here / "evaluate_point.py")),
        cwd=work,
        env={"PATH": os.environ["PATH"], "IDDS_HOST": host, "TASK": str(TASK)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


class Jobs:
    """Each evaluates one event after the other; JEDI says of the last attempt what it says."""

    def __init__(self, client: IddsClient, host: str, folder: Path) -> None:
        self._client = client
        self._host = host
        self._folder = folder
        self.ready: asyncio.Queue[int] = asyncio.Queue()
        self.half = asyncio.Event()
        self.up = asyncio.Event()
        self.up.set()
        self.calling = asyncio.Lock()
        self._evaluated = 0

    async def run(self) -> None:
        while True:
            number = await self.ready.get()
            await self._evaluate(number)
            self._evaluated += 1
            if self._evaluated == POINTS // 2:
                self.half.set()
            self.ready.task_done()

    async def _evaluate(self, number: int) -> None:
        attempt = 1
        while (code := await _job(self._host, self._folder, number, attempt)) != 0:
            if code == NOBODY_THERE:
                await self.up.wait()
            elif attempt == ATTEMPTS:
                async with self.calling:
                    await self._client.call("update_hyperparameter", TASK, None, number, MAGIC)
                return
            else:
                attempt += 1


@asynccontextmanager
async def _working(jobs: Jobs) -> AsyncIterator[None]:
    """With so many of them under way; at the end all that was ready is evaluated."""
    running = [asyncio.create_task(jobs.run()) for _ in range(JOBS)]
    try:
        yield
        await jobs.ready.join()
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Service:
    """It is where it was when it is started again."""

    def __init__(self, folder: Path, broker: str) -> None:
        self._state = folder / "state"
        self._settings = folder / "idds.toml"
        self._settings.write_text(SETTINGS.format(broker=broker))
        self._running: Running | None = None

    async def start(self) -> Running:
        port = self._running.url.rpartition(":")[2] if self._running is not None else "0"
        self._running = await start(self._state, "--settings", str(self._settings), "--port", port)
        return self._running

    async def kill_half_way(self, jobs: Jobs) -> None:
        await jobs.half.wait()
        assert self._running is not None
        async with jobs.calling:
            jobs.up.clear()
            await self._running.kill()
            await self.start()
            jobs.up.set()

    async def stop(self) -> None:
        if self._running is not None and self._running.process.returncode is None:
            self._running.process.terminate()
            await self._running.process.wait()


@pytest.fixture
async def service(tmp_path: Path, mosquitto: MosquittoServer) -> AsyncIterator[Service]:
    service = Service(tmp_path, mosquitto.url)
    yield service
    await service.stop()


async def test_a_search_is_evaluated_by_payloads_that_know_nothing_new_and_survives_a_kill(
    tmp_path: Path, mosquitto: MosquittoServer, service: Service
) -> None:
    running = await service.start()
    async with (
        IddsClient(running.url, running.token) as client,
        aiomqtt.Client("127.0.0.1", mosquitto.port) as mqtt,
        asyncio.timeout(PATIENCE_S),
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
        async with _working(jobs), asyncio.TaskGroup() as group:
            group.create_task(service.kill_half_way(jobs))
            await events.listen(jobs.ready)
        rows = await client.call("get_hyperparameters", TASK, None)
        (shown,) = await client.call("get_requests", request)
        messages = await client.call("get_messages", request_id=request)
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
