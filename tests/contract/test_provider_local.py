"""The local provider keeps the contract; and what only a real kill of a real service can show."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from idds.domain.statuses import JobStatus
from idds.providers.local import LocalOptions, LocalProvider
from idds.testing.provider_contract import ProviderContract, Trial

SERVICE = """
import asyncio, json, sys
from idds.domain.job import JobSpec
from idds.domain.workflow import Payload, Resources
from idds.providers.local import LocalProvider

async def serve(options, jobs):
    provider = LocalProvider.from_options(options)
    await provider.start()
    specs = [JobSpec(key, Payload(argv=("/bin/sh", "-c", script)), Resources(), {}) for key, script in jobs]
    submitted = await provider.submit(specs)
    print(json.dumps([outcome.handle for outcome in submitted]), flush=True)
    await asyncio.Event().wait()

asyncio.run(serve(*json.loads(sys.stdin.readline())))
"""


class LocalHarness:
    """Restarting abandons the provider without a word: it even goes on beside the new one, which must not matter."""

    slots = 2
    patience_s = 60.0

    def __init__(self, folder: Path) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.options = LocalOptions(root=folder / "jobs", slots=self.slots, grace_s=0.2)
        self.provider = LocalProvider(self.options)
        self._abandoned: list[LocalProvider] = []

    async def restart(self) -> None:
        self._abandoned.append(self.provider)
        self.provider = LocalProvider(self.options)
        await self.provider.start()

    async def stop(self) -> None:
        for provider in (*self._abandoned, self.provider):
            await provider.stop()


class TestLocalProvider(ProviderContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[LocalHarness]:
        harness = LocalHarness(tmp_path)
        await harness.provider.start()
        yield harness
        await harness.stop()


class TestKilledService:
    """A service in a process of its own gets SIGKILL; the one in this process takes its place."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> LocalHarness:
        return LocalHarness(tmp_path)

    @pytest.fixture
    async def trial(self, harness: LocalHarness) -> AsyncIterator[Trial]:
        trial = Trial(harness)
        yield trial
        await trial.clean()
        await harness.stop()

    async def serve(self, harness: LocalHarness, jobs: dict[str, str]) -> asyncio.subprocess.Process:
        service = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVICE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        options = {"root": str(harness.options.root), "slots": harness.slots, "grace_s": 0.2}
        assert service.stdin is not None
        service.stdin.write(json.dumps([options, list(jobs.items())]).encode() + b"\n")
        return service

    async def kill(self, service: asyncio.subprocess.Process) -> None:
        service.kill()
        await service.communicate()

    async def test_jobs_run_on_and_are_adopted(self, harness: LocalHarness, trial: Trial) -> None:
        gate, runs = harness.scratch / "gate", harness.scratch / "runs"
        script = (
            f"echo $$ >{harness.scratch}/pid.$IDDS_JOB; while [ ! -e %s ]; do sleep 0.05; done; echo $IDDS_JOB >>{runs}"
        )
        away = script % f"{gate}-away"
        service = await self.serve(harness, {"away": f"{away}; exit 5", "stays": script % gate, "waits": script % gate})
        await trial.appeared("pid.*", 2)
        await self.kill(service)
        trial.open("gate-away")
        async with asyncio.timeout(harness.patience_s):
            while not (harness.options.root / "away" / "exit").exists():
                await asyncio.sleep(0.02)
        await harness.provider.start()
        found = await harness.provider.find(["away", "stays", "waits"])
        away_state, stays_state = (await harness.provider.poll([found["away"], found["stays"]])).values()
        assert (away_state.status, away_state.exit_code) == (JobStatus.FAILED, 5)
        assert {"wall_s", "cpu_s"} <= set(away_state.usage)
        assert stays_state.status is JobStatus.RUNNING
        trial.open("gate")
        for state in await trial.ended(found["stays"], found["waits"]):
            assert (state.status, state.exit_code) == (JobStatus.SUCCEEDED, 0)
            assert {"wall_s", "cpu_s"} <= set(state.usage)
        assert sorted(runs.read_text().split()) == ["away", "stays", "waits"]

    @pytest.mark.parametrize("ended", [0, 1, 7, 20])
    async def test_each_job_runs_once_whenever_it_is_killed(
        self, harness: LocalHarness, trial: Trial, ended: int
    ) -> None:
        runs = harness.scratch / "runs"
        runs.touch()
        keys = [f"job-{n}" for n in range(30)]
        service = await self.serve(harness, dict.fromkeys(keys, f"echo $IDDS_JOB >>{runs}"))
        async with asyncio.timeout(harness.patience_s):
            while len(runs.read_text().split()) < ended or not list(harness.options.root.glob("job-*")):
                await asyncio.sleep(0.001)
        await self.kill(service)
        await harness.provider.start()
        handles = await trial.submit(*(trial.spec("true") for _ in range(2)))
        known = await harness.provider.find(keys)
        states = await trial.ended(*handles, *known.values())
        assert {state.status for state in states} == {JobStatus.SUCCEEDED}
        assert sorted(runs.read_text().split()) == sorted(known), (
            "each once, and none that was not acknowledged by its folder"
        )

    async def test_a_wrapper_killed_while_nobody_watched(self, harness: LocalHarness, trial: Trial) -> None:
        pid_file = harness.scratch / "pid.orphan"
        service = await self.serve(
            harness, {"orphan": f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; sleep 600"}
        )
        await trial.appeared("pid.orphan")
        payload = psutil.Process(int(pid_file.read_text()))
        await self.kill(service)
        wrapper = int(os.readlink(harness.options.root / "orphan" / "started").split()[0])
        os.kill(wrapper, signal.SIGKILL)
        await asyncio.to_thread(psutil.Process(wrapper).wait if psutil.pid_exists(wrapper) else int)
        await harness.provider.start()
        (handle,) = (await harness.provider.find(["orphan"])).values()
        (state,) = await trial.ended(handle)
        assert state.status is JobStatus.LOST
        await asyncio.to_thread(payload.wait, harness.patience_s)

    async def test_a_cancel_ordered_before_the_kill_is_carried_out(self, harness: LocalHarness, trial: Trial) -> None:
        deaf = f"trap '' TERM; touch {harness.scratch}/deaf; while :; do sleep 0.05; done"
        service = await self.serve(harness, {"deaf": deaf})
        await trial.appeared("deaf")
        await self.kill(service)
        (harness.options.root / "deaf" / "order.json").write_text('{"cause": "cancel", "reason": "cancelled"}')
        await harness.provider.start()
        (handle,) = (await harness.provider.find(["deaf"])).values()
        (state,) = await trial.ended(handle)
        assert state.status is JobStatus.CANCELLED
