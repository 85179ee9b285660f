"""The client and the command line against the whole service."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from idds.cli.main import app
from idds.cli.serve import serving
from idds.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from idds.domain.statuses import ContentStatus, Intent, Status
from idds.domain.workflow import Input, Parameter, Payload, Samples, Work, Workflow
from idds.runtime.settings import read_settings
from idds.sdk.client import Client
from idds.sdk.views import Kept

pytestmark = pytest.mark.timeout(60)
HELLO = "import sys; print('hello'); sys.stderr.write('oh'); sys.exit(int(sys.argv[1]))"


def study(count: int = 5, attempts: int = 3) -> Workflow:
    space = {"x": Parameter(type="float", low=0, high=1)}
    return Workflow(
        name="study",
        works=(
            Work(
                name="scan", input=Input(samples=Samples(space=space, sampler="random", count=count)), attempts=attempts
            ),
        ),
    )


def job(exit_code: int = 0) -> Workflow:
    payload = Payload(argv=(sys.executable, "-c", HELLO, str(exit_code)))
    return Workflow(name="job", works=(Work(name="greet", payload=payload, attempts=1),))


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """Of an operator, in a process whose environment names service and token."""
    settings = read_settings(None, state=tmp_path / "state", api={"port": 0}, bus={"kind": "none"})
    async with serving(settings) as running:
        monkeypatch.setenv("IDDS_URL", running.url)
        monkeypatch.setenv("IDDS_TOKEN_FILE", str(running.token_file))
        async with Client() as client:
            yield client


Idds = Callable[..., Any]


@pytest.fixture
def idds(client: Client) -> Idds:
    """The command line, run in a thread; gives the result when the exit code is as it should be."""

    async def run(*arguments: object, code: int = 0) -> Result:
        result = await asyncio.to_thread(CliRunner().invoke, app, list(map(str, arguments)))
        assert result.exit_code == code, result.output
        return result

    return run


def documents(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


async def test_samples_are_leased_and_reported_until_their_request_ends(client: Client) -> None:
    assert await client.ready()
    submitted = await client.submit(study(), share="mine", priority=3)
    assert (submitted.status, submitted.intent, submitted.share, submitted.priority) == ("new", "run", "mine", 3)
    assert submitted.workflow in (None, study())

    request = await _released(client, submitted.id)
    collection = request.collection("scan").id
    lease = await client.lease(collection, count=2, wait_s=10)
    first, second = lease.contents
    assert not lease.ended
    assert first.parameters is not None
    assert 0 <= first.parameters["x"] <= 1
    assert (await client.heartbeat(collection, lease.contents, ttl_s=120)).held == (first.id, second.id)
    receipts = await client.report(collection, [first.done(0.5), second.failed("crash")])
    assert [(receipt.id, receipt.verdict) for receipt in receipts] == [(first.id, "accepted"), (second.id, "again")]
    assert (await client.report(collection, [second.failed("crash")]))[0].verdict == "stale", "though the API says 409"
    assert await client.heartbeat(collection, lease.contents) == Kept()

    done = 1
    lease = await client.lease(collection, wait_s=10)
    strange = replace(second, id=second.id + 1000)
    assert (await client.report(collection, [strange.failed("crash")]))[0].verdict == "unknown", (
        "though the API says 404"
    )
    stale = await client.report_and_lease(collection, [second.failed("crash")])
    assert (stale.receipts[0].verdict, len(stale.contents)) == ("stale", 1)
    both = await client.report_and_lease(collection, [c.done(1.0) for c in (*lease.contents, *stale.contents)])
    assert [receipt.verdict for receipt in both.receipts] == ["accepted", "accepted"]
    done += len(both.receipts) + len(await client.report(collection, [content.done(1.0) for content in both.contents]))
    while not (lease := await client.lease(collection, count=10, wait_s=1)).ended:
        done += len(await client.report(collection, [content.done(1.0) for content in lease.contents]))
    assert done == 5
    request = await client.wait(request.id, interval_s=0.05)
    assert (request.status, request.workflow) == (Status.FINISHED, study())
    assert (await client.collection(collection)).counts[ContentStatus.DONE] == 5

    contents = [content async for content in client.contents(collection)]
    assert sorted(content.attempt for content in contents) == [1, 1, 1, 1, 2]
    assert contents[0].objective_values == (0.5,)
    assert [content async for content in client.contents(collection, ContentStatus.FAILED)] == []
    moves = [move async for move in client.history(request.id)]
    assert (moves[0].entity, moves[0].to_status) == (f"request:{request.id}", "new")
    assert [move for move in moves if move.entity == f"request:{request.id}"][-1].to_status == "finished"
    assert (await client.why(request.id)).status is Status.FINISHED


async def _released(client: Client, request: int) -> Any:
    async for now in client.follow(request, interval_s=0.05):
        if now.collections:
            return now
    raise AssertionError("it ended without a collection")


async def test_what_a_job_wrote(client: Client) -> None:
    request = await client.submit(job())
    assert (await client.wait(request.id, interval_s=0.05)).status is Status.FINISHED
    [processing] = [processing async for processing in client.processings(request.id)]
    assert (processing.status, processing.exit_code, processing.provider) == (Status.FINISHED, 0, "local")
    log = await client.logs(processing.id)
    assert (log.bytes, log.next_offset, log.eof) == (b"hello\n", 6, True)
    assert (await client.logs(processing.id, "stdout", 4)).bytes == b"o\n"
    assert (await client.logs(processing.id, "stdout", limit=2)).bytes == b"he"
    assert (await client.logs(processing.id, "stderr")).bytes == b"oh"


async def test_requests_are_listed_over_pages(client: Client) -> None:
    submitted = [(await client.submit(study())).id for _ in range(3)]
    assert [request.id async for request in client.requests()] == submitted[::-1]
    assert [request.id async for request in client.requests(limit=2)] == submitted[:0:-1]
    assert [request.id async for request in client.requests(Status.FINISHED)] == []


async def test_a_request_is_submitted_once_under_its_key(client: Client) -> None:
    first = await client.submit(study(), idempotency_key="k")
    assert (await client.submit(study(), idempotency_key="k")).id == first.id
    assert (await client.submit(study())).id != first.id
    with pytest.raises(Conflict, match="another document"):
        await client.submit(study(count=6), idempotency_key="k")


async def test_orders(client: Client) -> None:
    request = await client.submit(study())
    assert (await client.suspend(request.id)).intent is Intent.SUSPEND
    assert (await client.resume(request.id)).intent is Intent.RUN
    assert (await client.cancel(request.id)).intent is Intent.CANCEL
    assert (await client.wait(request.id, interval_s=0.05)).status is Status.CANCELLED
    with pytest.raises(Conflict, match="cancelled"):
        await client.resume(request.id)
    assert (await client.finish((await client.submit(study())).id)).intent is Intent.FINISH


async def test_problems_come_with_their_places(client: Client) -> None:
    with pytest.raises(InvalidInput) as caught:
        await client.submit({"name": "n", "works": [{"name": "a", "attempts": "5"}, {"name": "b", "colour": 1}]})
    assert {problem.pointer for problem in caught.value.problems} == {"/works/0/attempts", "/works/1/colour"}
    with pytest.raises(InvalidInput) as caught:
        await client.submit(Workflow(name="n", works=(Work(name="a", after=("b",), payload=job().works[0].payload),)))
    assert caught.value.problems[0].pointer.startswith("/works/0/after")
    with pytest.raises(InvalidInput, match="JSON"):
        await client.submit({"name": "n", "works": [float("nan")]})
    with pytest.raises(InvalidInput) as caught:
        await client.lease(1, count=0)
    assert [problem.pointer for problem in caught.value.problems] == ["/count"]
    with pytest.raises(NotFound, match="no request 99"):
        await client.request(99)
    with pytest.raises(NotFound):
        async for _ in client.contents(99):
            pass


async def test_tokens_open_what_they_are_for(client: Client) -> None:
    request = await _released(client, (await client.submit(study())).id)
    collection = request.collection("scan").id
    async with Client(token=await client.payload_token(collection, 60)) as payload:
        lease = await payload.lease(collection, wait_s=10)
        assert (await payload.report(collection, [lease.contents[0].done(1.0)]))[0].verdict == "accepted"
        with pytest.raises(Forbidden):
            await payload.request(request.id)
    async with Client(token="unknown") as stranger:
        assert await stranger.ready()
        with pytest.raises(Unauthenticated):
            await stranger.request(request.id)


async def test_windows_and_replicas_are_for_operators(client: Client) -> None:
    request = await _released(client, (await client.submit(study())).id)
    collection = request.collection("scan").id
    assert [(window.kind, window.ref) for window in await client.windows()] == [("collection", str(collection))]
    assert await client.replicas() == ()


async def test_a_stream_is_left_in_the_middle(client: Client) -> None:
    request = await _released(client, (await client.submit(study())).id)
    async for _ in client.contents(request.collection("scan").id):
        break


async def test_a_day_at_the_command_line(client: Client, idds: Idds, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        'name = "study"\n[[works]]\nname = "scan"\n[works.input.samples]\ncount = 2\n'
        'space.x = { type = "float", low = 0, high = 1 }\n'
    )
    [submitted] = documents(await idds("submit", tmp_path / "study.toml", "--key", "k", "--json"))
    again = await idds("submit", tmp_path / "study.toml", "--key", "k")
    number = submitted["id"]
    assert f"request {number}: study" in again.stdout
    collection = (await _released(client, number)).collection("scan").id

    assert "study" in (await idds("list")).stdout
    [listed] = documents(await idds("list", "--json"))
    assert listed["id"] == number
    assert documents(await idds("list", "--status", "finished", "--json")) == []
    assert "scan" in (await idds("show", number)).stdout
    assert documents(await idds("show", number, "--json"))[0]["workflow"]["works"][0]["name"] == "scan"
    assert "scan" in (await idds("why", number)).stdout
    assert documents(await idds("why", number, "--json"))[0]["request"] == number
    token = (await idds("token", "payload", collection)).stdout.strip()

    async with Client(token=token) as consumer:
        lease = await consumer.lease(collection, count=2, wait_s=10)
        watching = asyncio.create_task(idds("watch", number))
        await consumer.report(collection, [content.done(0.5) for content in lease.contents])
    lines = (await watching).stdout.splitlines()
    assert any(f"request {number} is finished" in line for line in lines)
    assert any("2 of 2 done" in line for line in lines)

    assert len((await idds("contents", collection)).stdout.splitlines()) == 2
    values = [
        c["objective_values"] for c in documents(await idds("contents", collection, "--status", "done", "--json"))
    ]
    assert values == [[0.5], [0.5]]
    assert "finished" in (await idds("history", number)).stdout
    assert "finished" in (await idds("cancel", number, code=6)).stderr
    assert (await idds("show", 99, code=5)).stderr.startswith("idds: there is no request 99")


async def test_a_job_at_the_command_line(client: Client, idds: Idds, tmp_path: Path) -> None:
    document = {"name": "job", "works": [{"name": "greet", "payload": {"argv": [sys.executable, "-c", HELLO, "0"]}}]}
    (tmp_path / "job.json").write_text(json.dumps(document))
    good = await idds("submit", tmp_path / "job.json", "--watch")
    assert "is finished" in good.stdout
    failing = ("--set", '/works/0/payload/argv/3="3"', "--set", "/works/0/attempts=1")
    bad = await idds("submit", tmp_path / "job.json", "--watch", *failing, code=1)
    assert "is failed" in bad.stdout

    [processing] = documents(await idds("processings", 1, "--json"))
    assert (await idds("logs", processing["id"], "-f")).stdout == "hello\n"
    assert (await idds("logs", processing["id"], "--stream", "stderr")).stdout == "oh"
    assert "exit" in (await idds("processings", 2)).stdout
    assert documents(await idds("watch", 1, "--json"))[-1]["request"]["status"] == "finished"


async def test_orders_at_the_command_line(client: Client, idds: Idds) -> None:
    number = (await client.submit(study())).id
    assert "ordered to suspend" in (await idds("suspend", number)).stdout
    assert "ordered" not in (await idds("resume", number)).stdout
    assert documents(await idds("finish", number, "--json"))[0]["intent"] == "finish"
    other = (await client.submit(study())).id
    assert str(other) in (await idds("cancel", other)).stdout


async def test_refusals_at_the_command_line(
    client: Client, idds: Idds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.json").write_text('{"name": "n", "works": [{"name": "a", "attempts": 0}]}')
    refused = await idds("submit", tmp_path / "bad.json", code=2)
    assert refused.stderr.startswith("idds: ")
    assert "/works/0/attempts: " in refused.stderr
    assert [request async for request in client.requests()] == []

    (tmp_path / "token").write_text("unknown-token\n")
    stranger = await idds("--token-file", tmp_path / "token", "list", code=4)
    assert "--token-file" in stranger.stderr
    assert "unknown-token" not in stranger.output
    nobody = await idds("--url", "http://127.0.0.1:1", "list", code=3)
    assert nobody.stderr.startswith("idds: cannot connect to http://127.0.0.1:1: ")
    assert "idds serve" in nobody.stderr
    assert len(nobody.stderr.splitlines()) == 1


async def test_a_watch_is_interrupted(client: Client) -> None:
    number = (await client.submit(study())).id
    command = (sys.executable, "-c", "from idds.cli.main import app; app()", "watch", str(number))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert f"request {number}" in (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"")
