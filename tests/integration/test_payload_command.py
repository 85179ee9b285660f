"""`idds payload` as a user starts it: a URL, a token of one study, and a command that knows neither."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from idds.cli.serve import serving
from idds.domain.statuses import ContentStatus
from idds.domain.workflow import Input, Parameter, Pruner, Samples, Work, Workflow
from idds.runtime.settings import read_settings
from idds.sdk.client import Client
from idds.sdk.views import ContentView

pytestmark = pytest.mark.timeout(120)
PATIENCE_S = 60
SPACE = {"x": Parameter(type="float", low=1, high=2)}
# No Python, and nothing of this service: a shell that copies its parameter into its loss.
SHELL = """printf '{"status": 0, "loss": %s}' "$(sed 's/.*: \\(.*\\)}/\\1/' input.json)" > output.json"""


@dataclass
class Place:
    """A study in a service, and a folder for its payloads."""

    client: Client
    folder: Path
    collection: int
    token: Path

    async def start(self, *arguments: str, folder: str = "one") -> asyncio.subprocess.Process:
        """A payload in a folder of its own; the last arguments are its command."""
        at = self.folder / folder
        at.mkdir(exist_ok=True)
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("idds")),
            "payload",
            *("--url", self.client.url, "--token-file", str(self.token), *arguments),
            cwd=at,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, folder: str = "one") -> tuple[int | None, str, str]:
        """Its exit code, and what it said."""
        process = await self.start(*arguments, folder=folder)
        out, errors = await process.communicate()
        return process.returncode, out.decode().strip(), errors.decode().strip()

    async def contents(self) -> list[ContentView]:
        return [content async for content in self.client.contents(self.collection)]

    async def counts(self) -> dict[str, int]:
        return {status: n for status, n in (await self.client.collection(self.collection)).counts.items() if n}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    settings = read_settings(None, state=tmp_path / "state", api={"port": 0}, bus={"kind": "none"})
    async with serving(settings) as running, Client(running.url, token_file=running.token_file) as client:
        yield client


async def submit(
    client: Client, folder: Path, count: int = 3, attempts: int = 1, pruner: Pruner | None = None
) -> Place:
    source = Input(samples=Samples(space=SPACE, count=count, pruner=pruner))
    request = await client.submit(Workflow(name="study", works=(Work(name="scan", input=source, attempts=attempts),)))
    async with asyncio.timeout(PATIENCE_S):
        while not (found := (await client.request(request.id)).collections):
            await asyncio.sleep(0.02)
    token = folder / "token"
    token.write_text(await client.payload_token(found[0].id, 600))
    return Place(client, folder, found[0].id, token)


async def test_a_command_without_python_evaluates_a_study(client: Client, tmp_path: Path) -> None:
    place = await submit(client, tmp_path)
    assert await place.run("--", "sh", "-c", SHELL) == (0, "done 3, failed 0, given back 0, lost 0", "")
    for content in await place.contents():
        assert content.parameters is not None
        assert content.objective_values == (content.parameters["x"],)
    assert list((tmp_path / "one").iterdir()) == [], "it leaves nothing behind"


WANTED = "this study wants 1 objective value of each sample; "
ODD = {
    "exit 7": "the command ended with exit code 7",
    "true": "the command wrote no output.json",
    "echo '{' > output.json": "output.json: Expecting property name",
    "echo '[]' > output.json": "output.json: /: expected an object, found list",
    """echo '{"loss": "low"}' > output.json""": "output.json: /loss: expected float, found str",
    """echo '{"status": 3, "message": "no events"}' > output.json""": "no events",
    """echo '{"status": "bad"}' > output.json""": "the command says status bad",
    """echo '{"losses": [1, 2]}' > output.json""": f"{WANTED}there are 2",
    "echo '{}' > output.json": f"{WANTED}there are 0",
    r"""echo '{"status": 1, "message": "a\\u0000b\\ud800"}' > output.json""": "a\ufffdb\ufffd",
    """printf '{"status": 1, "message": "%09000d"}' 0 > output.json""": "0" * 3999 + "…",
    "head -c 99999 /dev/zero | tr '\\0' '[' > output.json": "output.json: it is nested too deep",
    """printf '{"loss": 9%0400d}' 0 > output.json""": "output.json: /loss: this number is too large",
    """echo '{"loss": NaN}' > output.json""": "a value that was reported is nan",
    """echo '{"loss": 1e999}' > output.json""": "a value that was reported is inf",
    "mkdir output.json": "output.json: it is no file",
    "mkfifo progress.ndjson output.json": "output.json: it is no file",
    "ln -s /dev/zero output.json": "output.json: it is no file",
    "truncate -s 20M output.json": "output.json: it is larger than 16777216 bytes",
    """test -z "$IDDS_TOKEN$IDDS_TOKEN_FILE" && echo '{"status": 1}' > output.json""": "the command says status 1",
}


async def test_what_goes_wrong_is_said_of_the_sample(client: Client, tmp_path: Path) -> None:
    place = await submit(client, tmp_path, count=1 + len(ODD))
    cases = "".join(f"{number}) {command};; " for number, command in enumerate((SHELL, *ODD)))
    # The first one is good: who only fails soon gives up.
    script = f"n=$(cat ../n 2>/dev/null || echo 0); echo $((n + 1)) > ../n; case $n in {cases} esac"
    assert await place.run("--", "sh", "-c", script) == (0, f"done 1, failed {len(ODD)}, given back 0, lost 0", "")
    for content, reason in zip((await place.contents())[1:], ODD.values(), strict=True):
        assert str(content.reason)[: len(reason)] == reason


PRUNED = """
tell() { printf '{"step": %s, "loss": 1.5}\\n' $1 >> progress.ndjson; }
tell 1
if [ -e ../first ]; then
  for step in 2 3 4 5 6; do tell $step; done
  while true; do sleep 0.05; done
fi
touch ../first
echo '{"loss": 1.5}' > output.json
"""


async def test_what_is_not_wanted_any_more_is_ended_and_pruned(client: Client, tmp_path: Path) -> None:
    """No value becomes better than the first: by the rule of the study that is the end of it."""
    pruner = Pruner(type="plateau", options={"patience": 3})
    place = await submit(client, tmp_path, count=2, pruner=pruner)
    assert await place.run("--", "sh", "-c", PRUNED) == (0, "done 2, failed 0, given back 0, lost 0", "")
    assert [content.objective_values for content in await place.contents()] == [(1.5,), None]
    samples = [sample async for sample in client.samples(place.collection)]
    assert [sample.is_pruned for sample in samples] == [False, True]


CHECKPOINTED = """
n=$(cat $IDDS_CHECKPOINT/epoch 2>/dev/null || echo 0)
trap 'echo $((n + 1)) > $IDDS_CHECKPOINT/epoch; exit 1' TERM
touch ready
if [ $n -lt 2 ]; then while true; do sleep 0.05; done; fi
echo "{\\"loss\\": $n}" > output.json
"""


async def test_what_was_ended_is_gone_on_with_by_the_next_payload(client: Client, tmp_path: Path) -> None:
    """It is given back as long as it has a checkpoint: that is no attempt, of which it has one only."""
    place = await submit(client, tmp_path, count=1)
    kept = tmp_path / "checkpoints"
    arguments = ("--checkpoints", str(kept), "--", "sh", "-c", CHECKPOINTED)
    for number in range(2):
        process = await place.start(*arguments, folder=f"payload-{number}")
        async with asyncio.timeout(PATIENCE_S):
            while not (tmp_path / f"payload-{number}" / "ready").exists():
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
        assert process.returncode == 128 + signal.SIGTERM
        assert out.decode().strip() == "done 0, failed 0, given back 1, lost 0"
        assert await place.counts() == {"available": 1}
    assert (await place.run(*arguments))[1] == "done 1, failed 0, given back 0, lost 0"
    (content,) = await place.contents()
    assert content.objective_values == (2.0,), "two were ended in its middle"
    assert [each for each in kept.rglob("*") if "sample" in each.name] == [], "it has ended: nobody goes on with it"


async def test_what_has_no_checkpoint_spends_an_attempt(client: Client, tmp_path: Path) -> None:
    """Else a sample that is too long for any payload would go round for ever."""
    place = await submit(client, tmp_path, count=1, attempts=2)
    process = await place.start("--checkpoints", "../kept", "--", "sh", "-c", "touch ready; sleep 1000")
    async with asyncio.timeout(PATIENCE_S):
        while not (tmp_path / "one" / "ready").exists():
            await asyncio.sleep(0.02)
    (content,) = await place.contents()
    assert content.status is ContentStatus.LEASED
    again = await place.run("--", "true")
    assert again[0] == 2
    assert "another payload runs in" in again[2]
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert process.returncode == 128 + signal.SIGINT, "a batch system is not to take it for a success"
    assert out.decode().strip() == "done 0, failed 1, given back 0, lost 0"
    assert (await place.counts()) == {"available": 1}


def is_there(process: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    return False


async def test_a_payload_that_is_killed_takes_its_command_along(client: Client, tmp_path: Path) -> None:
    place = await submit(client, tmp_path, count=1)
    process = await place.start(
        "--", "sh", "-c", "trap '' TERM HUP; sleep 1000 & echo $$ $! > pids.new; mv pids.new pids; wait"
    )
    async with asyncio.timeout(PATIENCE_S):
        while not (tmp_path / "one" / "pids").exists():
            await asyncio.sleep(0.02)
    pids = [int(each) for each in (tmp_path / "one" / "pids").read_text().split()]
    guards = [each.pid for each in psutil.Process(process.pid).children() if each.pid not in pids]
    assert [is_there(each) for each in (*pids, *guards)] == [True] * 3
    process.kill()
    await process.communicate()
    async with asyncio.timeout(PATIENCE_S):
        while any(is_there(each) for each in (*pids, *guards)):
            await asyncio.sleep(0.02)


async def test_a_node_where_every_loss_is_no_number_gives_up(client: Client, tmp_path: Path) -> None:
    place = await submit(client, tmp_path, count=5)
    code, _, said = await place.run("--", "sh", "-c", """echo '{"loss": NaN}' > output.json""")
    assert (code, said) == (2, "idds: the command failed 3 times, and never succeeded: this node cannot run it")
    assert (await place.counts())["failed"] == 3


async def test_who_cannot_run_is_told_why(client: Client, tmp_path: Path) -> None:
    place = await submit(client, tmp_path, count=1)
    code, _, said = await place.run("--", "/no/such/command")
    assert (code, said) == (2, "idds: /no/such/command cannot be run: No such file or directory")
    place.token.write_text((await client.new_token()).token or "")
    code, _, said = await place.run("--", "true")
    assert (code, said) == (2, "idds: --study: this token is not of one study: say which one")
    place.token.write_text("idds_nonsense")
    code, _, said = await place.run("--", "true")
    assert code == 4
    assert "nonsense" not in said
