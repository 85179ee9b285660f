"""What the local provider promises beyond the contract: order, processes that outlive a job, hostile folders."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from idds.domain.errors import InvalidInput, NotFound, Unavailable
from idds.domain.identifiers import Handle
from idds.domain.job import Rejected, Submitted
from idds.domain.statuses import Blame, JobStatus
from idds.domain.workflow import Payload
from idds.providers.local import LocalProvider
from idds.providers.local.artifacts import MAX_RESULT_BYTES
from idds.testing.provider_contract import Trial
from tests.contract.test_provider_local import LocalHarness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[LocalHarness]:
    harness = LocalHarness(tmp_path)
    await harness.provider.start()
    yield harness
    await harness.stop()


@pytest.fixture
async def trial(harness: LocalHarness) -> AsyncIterator[Trial]:
    trial = Trial(harness)
    yield trial
    await trial.clean()


def folder_of(harness: LocalHarness, handle: Handle) -> Path:
    return harness.options.root / json.loads(handle)["job"]


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def gone(pid: int) -> None:
    """Until a process that is no child of ours is gone, or waits for nothing but its parent."""
    async with asyncio.timeout(60):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def test_jobs_start_in_order_and_a_wide_one_is_not_overtaken(harness: LocalHarness, trial: Trial) -> None:
    (first,) = await trial.submit(trial.waiting("gate"))
    await trial.running("gate", first)
    line = f"echo $IDDS_JOB >>{harness.scratch}/order"
    wide, *narrow = (trial.spec(line, cores=cores) for cores in (2, 1, 1))
    handles = await trial.submit(wide, *narrow)
    assert (await harness.provider.probe()).slots_free == 1
    assert {state.status for state in (await harness.provider.poll(handles)).values()} == {JobStatus.PENDING}
    trial.open("gate")
    await trial.ended(first, *handles)
    assert (harness.scratch / "order").read_text().split()[0] == wide.key


async def test_the_queue_keeps_its_order_over_a_restart(harness: LocalHarness, trial: Trial) -> None:
    blockers = await trial.submit(trial.waiting("gate"), trial.waiting("gate"))
    await trial.running("gate", *blockers)
    specs = [trial.spec(f"echo $IDDS_JOB >>{harness.scratch}/order", cores=2) for _ in range(12)]
    handles = await trial.submit(*specs)
    await harness.provider.stop()
    await harness.restart()
    trial.open("gate")
    await trial.ended(*handles)
    assert (harness.scratch / "order").read_text().split() == [spec.key for spec in specs]


@pytest.mark.parametrize("escape", ["", "set -m;"], ids=["in the group", "in a group of its own"])
async def test_what_a_cancelled_job_started_ends_with_it(harness: LocalHarness, trial: Trial, escape: str) -> None:
    pid_file = harness.scratch / "pid"
    (handle,) = await trial.submit(
        trial.spec(f"{escape} sleep 600 & echo $! >{pid_file}.new; mv {pid_file}.new {pid_file}; wait")
    )
    await trial.appeared("pid")
    await harness.provider.cancel([handle])
    await trial.ended(handle)
    await gone(int(pid_file.read_text()))


async def test_what_outlives_a_job_ends_with_it(harness: LocalHarness, trial: Trial) -> None:
    handle = await trial.run("sleep 600 & echo $!")
    await gone(int(await trial.log(handle)))


async def test_the_reason_ends_with_the_last_words(trial: Trial) -> None:
    specs = [
        trial.spec("echo first >&2; echo; echo 'no such channel: \x1b[31m42' >&2; exit 3"),
        trial.spec("yes x | tr -d '\\n' | head -c 10000 >&2; exit 1"),
        trial.spec("echo out of time >&2; sleep 600", walltime_s=1),
        trial.spec("kill -SEGV $$"),
        trial.spec("kill -KILL $$"),
        replace(trial.spec(""), payload=Payload(argv=("nonexistent-command",))),
        replace(trial.spec(""), payload=Payload(argv=("x" * 200_000,))),
    ]
    states = await trial.ended(*await trial.submit(*specs))
    told = [(state.exit_code, state.blame, state.reason or "") for state in states]
    assert told[0] == (3, Blame.USER, "exit code 3: first\nno such channel:  [31m42")
    assert (told[1][0], len(told[1][2])) == (1, 500)
    assert told[2] == (143, Blame.RESOURCE, "exceeded its walltime of 1 s: out of time")
    assert told[3] == (139, Blame.USER, "killed by signal 11 (SIGSEGV)")
    assert told[4] == (137, Blame.RESOURCE, "killed by signal 9 (SIGKILL)")
    assert told[5][:2] == (127, Blame.USER)
    assert told[5][2].endswith("nonexistent-command: not found")
    assert told[6] == (None, Blame.USER, "cannot be started: Argument list too long")


async def test_builtins_of_the_shell_are_no_commands(trial: Trial) -> None:
    (handle,) = await trial.submit(replace(trial.spec(""), payload=Payload(argv=("exit", "0"))))
    (state,) = await trial.ended(handle)
    assert state.exit_code == 127


async def test_usage(trial: Trial) -> None:
    burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    (handle,) = await trial.submit(trial.spec(burn, memory_bytes=10**9))
    (state,) = await trial.ended(handle)
    assert 0 < state.usage["cpu_s"] <= 2 * state.usage["wall_s"] + 0.1
    # Looked at while it runs: a child starts with its parent's peak, and these tests' may be higher than its own.
    hungry = f"{sys.executable} -c \"import time; x = b'x' * 400_000_000; time.sleep(2)\""
    (state,) = await trial.ended(*await trial.submit(trial.spec(hungry, memory_bytes=10**9)))
    assert state.usage["max_rss_bytes"] > 400_000_000


async def test_memory_that_processes_share_counts_once(harness: LocalHarness, trial: Trial) -> None:
    script = harness.scratch / "share.py"
    script.write_text(
        "import os, time, pathlib\n"
        "x = b'x' * 100_000_000\n"
        "children = [os.fork() or time.sleep(600) for _ in range(4)]\n"
        f"pathlib.Path('{harness.scratch}/forked').touch()\n"
        f"while not pathlib.Path('{harness.scratch}/gate').exists(): time.sleep(0.05)\n"
    )
    (handle,) = await trial.submit(trial.spec(f"{sys.executable} {script}", memory_bytes=300_000_000))
    await trial.appeared("forked")
    # The next look at memory comes within the life of this one, which is killed by such a look.
    hungry = trial.spec("{ head -c 200000000 /dev/zero; sleep 600; } | tail", memory_bytes=50_000_000)
    await trial.ended(*await trial.submit(hungry))
    trial.open("gate")
    (state,) = await trial.ended(handle)
    assert state.status is JobStatus.SUCCEEDED, state


async def test_many_short_jobs_leave_nothing(harness: LocalHarness, trial: Trial) -> None:
    await trial.run("true")
    before, folders = open_descriptors(), set(os.listdir(harness.options.root))
    handles = await trial.submit(*(trial.spec("true") for _ in range(200)))
    await trial.ended(*handles)
    assert open_descriptors() <= before
    await trial.provider.forget(handles)
    assert set(os.listdir(harness.options.root)) == folders


async def test_a_result_is_bounded_and_a_file(harness: LocalHarness, trial: Trial) -> None:
    big, pipe, link = [
        await trial.run(f"head -c {MAX_RESULT_BYTES + 1} /dev/zero >output.json"),
        await trial.run("mkfifo output.json"),
        await trial.run("ln -s /etc/passwd output.json"),
    ]
    for handle in (big, pipe, link):
        with pytest.raises(InvalidInput):
            await harness.provider.result(handle)


async def test_a_log_that_is_no_file_is_empty(harness: LocalHarness, trial: Trial) -> None:
    handle = await trial.run("rm stdout stderr; mkfifo stdout; ln -s /etc/passwd stderr")
    assert await trial.log(handle, "stdout") == b""
    assert await trial.log(handle, "stderr") == b""


async def test_outputs_that_were_replaced_by_a_link(harness: LocalHarness, trial: Trial) -> None:
    handle = await trial.run("rmdir outputs; ln -s /etc outputs")
    with pytest.raises(NotFound):
        await harness.provider.output_path(handle, "passwd")


async def test_a_job_that_removes_its_folder_is_lost_and_can_be_cancelled(harness: LocalHarness, trial: Trial) -> None:
    lost, stays = await trial.submit(trial.spec('rm -rf "$PWD"'), trial.waiting("gate", then="sleep 600"))
    assert [state.status for state in await trial.ended(lost)] == [JobStatus.LOST]
    await trial.running("gate", stays)
    await asyncio.to_thread(subprocess.run, ["rm", "-rf", folder_of(harness, stays)], check=True)
    await harness.provider.cancel([stays])
    (state,) = await trial.ended(stays)
    assert state.status is JobStatus.CANCELLED


async def test_what_is_private_is_private(harness: LocalHarness, trial: Trial) -> None:
    handle = await trial.run("true", {"token": "t"})
    folder = folder_of(harness, handle)
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "input.json", folder / "spec.json")] == [
        "0o700",
        "0o600",
        "0o600",
    ]


async def test_what_cannot_run_is_rejected(harness: LocalHarness, trial: Trial) -> None:
    good = trial.spec("true")
    bad = [
        replace(good, key="../escape"),
        replace(good, key=""),
        replace(good, key=".hidden"),
        replace(good, key="a\n"),
        replace(good, document={"x": float("nan")}),
        replace(good, document={"x": object()}),
        replace(good, payload=Payload(argv=("a\0b",))),
        replace(good, payload=Payload(argv=())),
        replace(good, payload=Payload(argv=("true",), environment={"A=B": "x"})),
        replace(good, payload=Payload(argv=("true",), environment={"A": "\0"})),
    ]
    assert {type(outcome) for outcome in await harness.provider.submit(bad)} == {Rejected}
    assert [path.name for path in harness.options.root.iterdir()] == [".lock"]


async def test_a_full_disk_rejects_for_now(
    harness: LocalHarness, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    spec = trial.spec("true")
    with monkeypatch.context() as patched:
        patched.setattr("idds.providers.local.folder._write", full)
        (outcome,) = await harness.provider.submit([spec])
    assert outcome == Rejected("its folder cannot be made: No space left on device", transient=True)
    assert isinstance((await harness.provider.submit([spec]))[0], Submitted)
    await trial.ended(*(await harness.provider.find([spec.key])).values())


async def test_stopped_it_says_nothing_and_jobs_run_on(harness: LocalHarness, trial: Trial) -> None:
    (handle,) = await trial.submit(trial.waiting("gate"))
    await trial.running("gate", handle)
    await harness.provider.stop()
    await harness.provider.stop()
    for call in (
        harness.provider.poll([handle]),
        harness.provider.find(["x"]),
        harness.provider.submit([]),
        harness.provider.cancel([handle]),
        harness.provider.forget([handle]),
        harness.provider.result(handle),
    ):
        with pytest.raises(Unavailable):
            await call
    assert not (await harness.provider.probe()).healthy
    await harness.provider.start()
    trial.open("gate")
    (state,) = await trial.ended(handle)
    assert state.status is JobStatus.SUCCEEDED


async def test_one_service_uses_a_root(harness: LocalHarness) -> None:
    script = (
        "import asyncio, sys\n"
        "from idds.providers.local import LocalProvider\n"
        "asyncio.run(LocalProvider.from_options({'root': sys.argv[1]}).start())\n"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(harness.options.root), stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await other.communicate()
    assert other.returncode == 1
    assert b"another service uses it" in stderr


async def test_a_root_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    provider = LocalProvider.from_options({"root": tmp_path / "file"})
    with pytest.raises(Unavailable, match="cannot be used"):
        await provider.start()
    await provider.stop()


async def test_a_service_recalls_what_another_left(harness: LocalHarness, trial: Trial) -> None:
    blockers = await trial.submit(trial.waiting("gate"), trial.waiting("gate"))
    await trial.running("gate", *blockers)
    ran = harness.scratch / "ran"
    unreadable, cancelled, never, queued, vanished = await trial.submit(
        *(trial.spec(f"echo $IDDS_JOB >>{ran}") for _ in range(5))
    )
    await harness.provider.stop()
    root = harness.options.root
    (folder_of(harness, unreadable) / "spec.json").write_text("{")
    (folder_of(harness, cancelled) / "order.json").write_text('{"cause": "cancel", "reason": "cancelled"}')
    (folder_of(harness, never) / "order.json").write_text('{"cause": "cancel", "reason": "cancelled"}')
    (folder_of(harness, never) / "started").symlink_to("never")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    other_start = Path("/proc/self/stat").read_text().strip().replace(" 0 ", " 1 ")
    (folder_of(harness, vanished) / "started").symlink_to(f"{other_start} not-{boot}")
    (root / ".new-half-made").mkdir()
    (root / ".old-half-removed" / "read-only").mkdir(parents=True)
    (root / ".old-half-removed" / "read-only").chmod(0o500)
    (root / "stray file").touch()
    await harness.provider.start()
    trial.open("gate")
    states = await trial.ended(unreadable, cancelled, never, queued, vanished, *blockers)
    assert [state.status for state in states] == [
        JobStatus.LOST,
        JobStatus.CANCELLED,
        JobStatus.CANCELLED,
        JobStatus.SUCCEEDED,
        JobStatus.LOST,
        JobStatus.SUCCEEDED,
        JobStatus.SUCCEEDED,
    ]
    assert ran.read_text().split() == [json.loads(queued)["job"]]
    assert not list(root.glob(".new-*")) + list(root.glob(".old-*"))


async def test_a_root_with_fewer_slots_than_before(harness: LocalHarness, trial: Trial) -> None:
    blockers = await trial.submit(trial.waiting("gate"), trial.waiting("gate"))
    await trial.running("gate", *blockers)
    wide, narrow = await trial.submit(trial.spec("true", cores=2), trial.spec("true"))
    harness.options = replace(harness.options, slots=1)
    await harness.provider.stop()
    await harness.restart()
    assert (await harness.provider.probe()).slots_free == 0
    trial.open("gate")
    states = await trial.ended(wide, narrow, *blockers)
    assert (states[0].status, states[0].blame) == (JobStatus.FAILED, Blame.RESOURCE)
    assert {state.status for state in states[1:]} == {JobStatus.SUCCEEDED}


async def test_a_forgotten_key_may_be_used_again(harness: LocalHarness, trial: Trial) -> None:
    spec = trial.spec("exit 1")
    (handle,) = await trial.submit(spec)
    await harness.provider.forget([handle])
    assert (await harness.provider.poll([handle]))[handle].status is not JobStatus.LOST, "it has not ended"
    await trial.ended(handle)
    await harness.provider.forget([handle])
    (again,) = await trial.submit(replace(spec, payload=Payload(argv=("true",))))
    (state,) = await trial.ended(again)
    assert state.status is JobStatus.SUCCEEDED
