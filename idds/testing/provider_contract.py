"""What every provider must do: the author of an adapter subclasses `ProviderContract` and gives a fixture `harness`.

    class TestSlurm(ProviderContract):
        @pytest.fixture
        async def harness(self, tmp_path):
            harness = SlurmHarness(tmp_path)
            await harness.provider.start()
            yield harness
            await harness.provider.stop()

Jobs run `/bin/sh`. A promise that a system cannot keep is a test to override there, with what it does instead.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from idds.domain.errors import NotFound
from idds.domain.identifiers import Handle
from idds.domain.job import JobSpec, JobState, Rejected, Submitted
from idds.domain.statuses import Blame, JobStatus
from idds.domain.workflow import Payload, Resources
from idds.ports.provider import Provider

POLL_S = 0.02


class ProviderHarness(Protocol):
    """A provider under test, started.

    `slots` one-core jobs run at once; `scratch` is a folder that jobs see under the same path; `patience_s` is how
    long a test waits for something that must happen before it fails.
    """

    provider: Provider
    slots: int
    scratch: Path
    patience_s: float

    async def restart(self) -> None:
        """The service dies without a word while its jobs run, and another one, started, becomes `provider`."""
        ...


class Trial:
    """The jobs of one test."""

    def __init__(self, harness: ProviderHarness) -> None:
        self.harness = harness
        self.scratch = harness.scratch
        self._prefix = uuid.uuid4().hex[:8]
        self._count = 0
        self._handles: dict[Handle, None] = {}

    @property
    def provider(self) -> Provider:
        return self.harness.provider

    def spec(self, script: str, document: Mapping[str, Any] | None = None, **resources: Any) -> JobSpec:
        """A job with a key of its own that runs a shell script."""
        self._count += 1
        payload = Payload(argv=("/bin/sh", "-c", script))
        return JobSpec(f"{self._prefix}-{self._count}", payload, Resources(**resources), document or {})

    def waiting(self, gate: str, then: str = ":") -> JobSpec:
        """A job that makes the file `GATE.KEY` in the scratch folder, and goes on when the file `gate` is there."""
        at = self.scratch / gate
        return self.spec(f"touch {at}.$IDDS_JOB; while [ ! -e {at} ]; do sleep 0.05; done; {then}")

    def open(self, gate: str) -> None:
        (self.scratch / gate).touch()

    async def submit(self, *specs: JobSpec) -> list[Handle]:
        handles = []
        for outcome in await self.provider.submit(specs):
            assert isinstance(outcome, Submitted), outcome
            handles.append(outcome.handle)
        self._handles |= dict.fromkeys(handles)
        return handles

    async def until(self, condition: Callable[[JobState], bool], handles: Sequence[Handle]) -> list[JobState]:
        """The states of these jobs once each fulfils the condition."""
        states: list[JobState] = []
        try:
            async with asyncio.timeout(self.harness.patience_s):
                while True:
                    found = await self.provider.poll(handles)
                    states = [found[handle] for handle in handles]
                    if all(map(condition, states)):
                        return states
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise AssertionError(f"still waiting: {[state for state in states if not condition(state)]}") from None

    async def ended(self, *handles: Handle) -> list[JobState]:
        return await self.until(lambda state: state.status.is_terminal, handles)

    async def running(self, gate: str, *handles: Handle) -> None:
        """Until jobs made by `waiting` run their script."""
        await self.until(lambda state: state.status is JobStatus.RUNNING, handles)
        await self.appeared(f"{gate}.*", len(handles))

    async def appeared(self, pattern: str, count: int = 1) -> None:
        """Until so many files are in the scratch folder."""
        async with asyncio.timeout(self.harness.patience_s):
            while True:
                if len(list(self.scratch.glob(pattern))) >= count:
                    return
                await asyncio.sleep(POLL_S)

    async def run(self, script: str, document: Mapping[str, Any] | None = None, **resources: Any) -> Handle:
        """A job that succeeded."""
        (handle,) = await self.submit(self.spec(script, document, **resources))
        (state,) = await self.ended(handle)
        assert state.status is JobStatus.SUCCEEDED, state
        return handle

    async def log(self, handle: Handle, stream: str = "stdout") -> bytes:
        return (await self.provider.logs(handle, stream, offset=0, limit=2**20)).bytes

    async def clean(self) -> None:
        handles = list(self._handles)
        await self.provider.cancel(handles)
        await self.ended(*handles)


class ProviderContract:
    walltime_s = 1
    """The shortest walltime that the system keeps."""

    @pytest.fixture
    def harness(self) -> Any:
        """A subclass gives a `ProviderHarness`, and closes it."""
        raise NotImplementedError

    @pytest.fixture
    async def trial(self, harness: ProviderHarness) -> AsyncIterator[Trial]:
        trial = Trial(harness)
        yield trial
        await trial.clean()

    async def test_fifty_jobs_in_one_call(self, trial: Trial) -> None:
        specs = [trial.spec('echo "$IDDS_JOB"') for _ in range(50)]
        handles = await trial.submit(*specs)
        assert len(set(handles)) == 50
        for state in await trial.ended(*handles):
            assert (state.status, state.exit_code, state.blame) == (JobStatus.SUCCEEDED, 0, None)
            assert state.observed_at > 0
            assert all(value >= 0 for value in state.usage.values())
        assert [await trial.log(handle) for handle in handles] == [f"{spec.key}\n".encode() for spec in specs]

    async def test_a_failing_command(self, trial: Trial) -> None:
        (handle,) = await trial.submit(trial.spec("echo no such channel >&2; exit 3"))
        (state,) = await trial.ended(handle)
        assert (state.status, state.exit_code, state.blame) == (JobStatus.FAILED, 3, Blame.USER)
        assert state.reason

    async def test_a_command_that_does_not_exist(self, trial: Trial) -> None:
        (handle,) = await trial.submit(replace(trial.spec(""), payload=Payload(argv=("/nonexistent/command",))))
        (state,) = await trial.ended(handle)
        assert state.status is JobStatus.FAILED
        assert state.reason

    async def test_arguments_arrive_as_they_are(self, trial: Trial) -> None:
        arguments = ("a b", "$HOME", "'quoted\"", "", "*", "ünï", "new\nline", "-e", "\\")
        payload = Payload(argv=("/bin/sh", "-c", 'for x in "$@"; do printf "%s|" "$x"; done', "sh", *arguments))
        (handle,) = await trial.submit(replace(trial.spec(""), payload=payload))
        await trial.ended(handle)
        assert (await trial.log(handle)).decode() == "".join(f"{argument}|" for argument in arguments)

    async def test_document_and_result(self, trial: Trial) -> None:
        document = {"processing": 12, "contents": [{"id": 7, "name": "ünïcode", "path": None}]}
        handle = await trial.run('cat input.json >"$IDDS_OUTPUT"; cmp input.json "$IDDS_INPUT"', document)
        result = await trial.provider.result(handle)
        assert result is not None
        assert json.loads(result) == document
        assert await trial.provider.result(await trial.run("true")) is None

    async def test_the_environment_is_the_job_s_own(self, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PASSWORD_OF_THE_SERVICE", "swordfish")
        spec = trial.spec('env; [ -w "$TMPDIR" ] && [ -d outputs ]')
        payload = replace(spec.payload, environment={"CAMPAIGN": "mc 23", "LANG": "C"})
        (handle,) = await trial.submit(replace(spec, payload=payload))
        (state,) = await trial.ended(handle)
        assert state.status is JobStatus.SUCCEEDED
        lines = (await trial.log(handle)).decode().splitlines()
        assert {"CAMPAIGN=mc 23", "LANG=C", f"IDDS_JOB={spec.key}"} <= set(lines)
        assert not any("swordfish" in line for line in lines)

    async def test_a_job_that_never_fits_is_rejected_alone(self, trial: Trial) -> None:
        good = trial.spec("true")
        rejected, submitted = await trial.provider.submit([trial.spec("true", cores=1024), good])
        assert isinstance(rejected, Rejected)
        assert not rejected.transient
        assert isinstance(submitted, Submitted)
        await trial.ended(submitted.handle)

    async def test_cancel_running(self, trial: Trial) -> None:
        (handle,) = await trial.submit(trial.waiting("gate", then=f"touch {trial.scratch}/survived"))
        await trial.running("gate", handle)
        await trial.provider.cancel([handle])
        (state,) = await trial.ended(handle)
        assert state.status is JobStatus.CANCELLED
        trial.open("gate")
        await trial.run("true")
        assert not (trial.scratch / "survived").exists()

    async def test_cancel_what_ignores_sigterm(self, trial: Trial) -> None:
        script = f"trap '' TERM; touch {trial.scratch}/deaf; while :; do sleep 0.05; done"
        (handle,) = await trial.submit(trial.spec(script))
        await trial.appeared("deaf")
        await trial.provider.cancel([handle])
        (state,) = await trial.ended(handle)
        assert state.status is JobStatus.CANCELLED

    async def test_cancel_queued(self, trial: Trial) -> None:
        running = await trial.submit(*(trial.waiting("gate") for _ in range(trial.harness.slots)))
        await trial.running("gate", *running)
        queued, last = await trial.submit(trial.spec(f"touch {trial.scratch}/ran"), trial.spec("true"))
        states = await trial.provider.poll([queued])
        assert states[queued].status is JobStatus.PENDING
        await trial.provider.cancel([queued])
        (state,) = await trial.ended(queued)
        assert state.status is JobStatus.CANCELLED
        trial.open("gate")
        states_then = await trial.ended(*running, last)
        assert {state.status for state in states_then} == {JobStatus.SUCCEEDED}
        assert not (trial.scratch / "ran").exists()

    async def test_cancel_changes_nothing_of_what_ended(self, trial: Trial) -> None:
        handle = await trial.run("true")
        await trial.provider.cancel([handle, Handle('{"job": "unknown"}')])
        (state,) = await trial.ended(handle)
        assert state.status is JobStatus.SUCCEEDED

    async def test_a_lost_reply(self, trial: Trial) -> None:
        spec = trial.spec(f"echo ran >>{trial.scratch}/runs")
        (first, same), (again,) = await asyncio.gather(trial.submit(spec, spec), trial.submit(spec))
        await trial.ended(first)
        (late,) = await trial.submit(spec)
        assert first == same == again == late
        await trial.ended(first)
        assert (trial.scratch / "runs").read_text() == "ran\n"
        assert await trial.provider.find([spec.key, "unknown"]) == {spec.key: first}

    async def test_restart_while_jobs_run(self, trial: Trial) -> None:
        specs = [
            trial.waiting("gate", then=f"echo $IDDS_JOB >>{trial.scratch}/runs") for _ in range(trial.harness.slots + 3)
        ]
        done, handles = await trial.run("echo early"), await trial.submit(*specs)
        await trial.running("gate", *handles[: trial.harness.slots])
        await trial.harness.restart()
        if not trial.provider.capabilities.durable_across_restart:
            assert {state.status for state in await trial.ended(*handles)} <= {JobStatus.LOST, JobStatus.CANCELLED}
            return
        keys = [spec.key for spec in specs]
        assert await trial.provider.find(keys) == dict(zip(keys, handles, strict=True))
        assert await trial.submit(*specs) == handles, "known already, they start nothing"
        trial.open("gate")
        for state in await trial.ended(done, *handles):
            assert (state.status, state.exit_code) == (JobStatus.SUCCEEDED, 0)
        assert sorted((trial.scratch / "runs").read_text().split()) == sorted(keys)
        assert await trial.log(done) == b"early\n"

    async def test_restart_keeps_ends_and_limits(self, trial: Trial) -> None:
        if not trial.provider.capabilities.durable_across_restart:
            return
        (failed, running) = await trial.submit(trial.spec("exit 4"), trial.waiting("gate"))
        await trial.running("gate", running)
        await trial.provider.cancel([running])
        (slow,) = await trial.submit(trial.spec("sleep 600", walltime_s=self.walltime_s + 1))
        before = await trial.ended(failed, running)
        await trial.until(lambda state: state.status is JobStatus.RUNNING, [slow])
        await trial.harness.restart()
        assert await trial.ended(failed, running) == before
        (state,) = await trial.ended(slow)
        assert (state.status, state.blame) == (JobStatus.FAILED, Blame.RESOURCE)

    async def test_walltime(self, trial: Trial) -> None:
        (handle,) = await trial.submit(trial.spec("sleep 600", walltime_s=self.walltime_s))
        (state,) = await trial.ended(handle)
        assert (state.status, state.blame) == (JobStatus.FAILED, Blame.RESOURCE)
        assert "walltime" in (state.reason or "")

    async def test_memory(self, trial: Trial) -> None:
        # `tail` keeps what it has seen of a line that does not end.
        hungry = trial.spec("{ head -c 200000000 /dev/zero; sleep 600; } | tail", memory_bytes=50_000_000)
        modest = trial.waiting("gate")
        modest = replace(modest, resources=replace(modest.resources, memory_bytes=500_000_000))
        hungry_handle, modest_handle = await trial.submit(hungry, modest)
        (state,) = await trial.ended(hungry_handle)
        assert (state.status, state.blame) == (JobStatus.FAILED, Blame.RESOURCE)
        assert "memory" in (state.reason or "")
        trial.open("gate")
        (state,) = await trial.ended(modest_handle)
        assert state.status is JobStatus.SUCCEEDED

    async def test_logs_of_a_running_job(self, trial: Trial) -> None:
        (handle,) = await trial.submit(trial.waiting("gate", then="seq 1 1000; echo last; echo other >&2"))
        await trial.running("gate", handle)
        empty = await trial.provider.logs(handle, "stdout", offset=0, limit=100)
        assert (empty.bytes, empty.next_offset, empty.eof) == (b"", 0, False)
        trial.open("gate")
        await trial.ended(handle)
        expected = "".join(f"{n}\n" for n in range(1, 1001)).encode() + b"last\n"
        read, offset, eof = b"", 0, False
        while not eof:
            chunk = await trial.provider.logs(handle, "stdout", offset=offset, limit=1000)
            assert len(chunk.bytes) <= 1000
            read, offset, eof = read + chunk.bytes, chunk.next_offset, chunk.eof
        assert (read, offset) == (expected, len(expected))
        tail = await trial.provider.logs(handle, "stdout", offset=-5, limit=1000)
        assert (tail.bytes, tail.next_offset, tail.eof) == (b"last\n", len(expected), True)
        everything = await trial.provider.logs(handle, "stdout", offset=-(10**9), limit=10)
        assert (everything.bytes, everything.next_offset, everything.eof) == (expected[:10], 10, False)
        assert await trial.log(handle, "stderr") == b"other\n"

    async def test_logs_of_what_is_not_there(self, trial: Trial) -> None:
        handle = await trial.run("true")
        with pytest.raises(NotFound):
            await trial.provider.logs(handle, "../input.json", offset=0, limit=10)
        with pytest.raises(NotFound):
            await trial.provider.logs(Handle('{"job": "unknown"}'), "stdout", offset=0, limit=10)

    async def test_outputs(self, trial: Trial) -> None:
        handle = await trial.run("cd outputs; echo a >a.txt; mkdir sub; echo b >sub/b.txt; ln -s a.txt inner")
        for name, content in (("a.txt", "a\n"), ("sub/b.txt", "b\n"), ("inner", "a\n")):
            path = await trial.provider.output_path(handle, name)
            assert await asyncio.to_thread(Path(path).read_text) == content

    @pytest.mark.parametrize("name", ["", ".", "no", "sub", "../input.json", "/etc/passwd", "link", "up/input.json"])
    async def test_outputs_that_lead_outside(self, trial: Trial, name: str) -> None:
        handle = await trial.run("cd outputs; mkdir sub; ln -s /etc/passwd link; ln -s .. up")
        with pytest.raises(NotFound):
            await trial.provider.output_path(handle, name)

    async def test_probe_and_cost(self, trial: Trial) -> None:
        running = await trial.submit(*(trial.waiting("gate") for _ in range(trial.harness.slots)))
        await trial.running("gate", *running)
        await trial.submit(trial.waiting("gate"))
        capacity = await trial.provider.probe()
        assert capacity.healthy, capacity.reason
        assert capacity.slots_total in (None, trial.harness.slots)
        assert capacity.slots_free in (None, 0)
        assert capacity.queued in (None, 1)
        narrow, wide = (trial.provider.cost(trial.spec("true", cores=cores)) for cores in (1, 2))
        assert 0 <= narrow.amount <= wide.amount
        assert narrow.unit
        assert narrow.basis in {"declared", "measured"}

    async def test_forget(self, trial: Trial) -> None:
        spec = trial.spec("true")
        (handle,) = await trial.submit(spec)
        await trial.ended(handle)
        await trial.provider.forget([handle, Handle('{"job": "unknown"}')])
        assert (await trial.provider.poll([handle]))[handle].status is JobStatus.LOST
        assert await trial.provider.find([spec.key]) == {}
        with pytest.raises(NotFound):
            await trial.provider.logs(handle, "stdout", offset=0, limit=10)
        await trial.provider.forget([handle])

    async def test_events(self, trial: Trial) -> None:
        seen: list[set[Handle]] = [set(), set()]

        async def listen(to: set[Handle]) -> None:
            async for handles in trial.provider.events():
                to |= set(handles)

        listeners = [asyncio.create_task(listen(handles)) for handles in seen]
        try:
            handles = await trial.submit(trial.waiting("gate"), trial.waiting("gate", then="exit 1"))
            await trial.running("gate", *handles)
            for heard in seen:
                heard.clear()
            trial.open("gate")
            async with asyncio.timeout(trial.harness.patience_s):
                while not all(heard >= set(handles) for heard in seen):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
        finally:
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)

    async def test_what_is_not_known_is_lost(self, trial: Trial) -> None:
        known = await trial.run("true")
        strange = [Handle(f'{{"job": "unknown-{n}"}}') for n in range(1000)] + [
            Handle("{}"),
            Handle("no json"),
            Handle(""),
        ]
        states = await trial.provider.poll([*strange, known])
        assert {states[handle].status for handle in strange} == {JobStatus.LOST}
        assert states[known].status is JobStatus.SUCCEEDED
        assert await trial.provider.poll([]) == {}
