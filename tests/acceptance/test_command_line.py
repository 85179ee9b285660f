"""The command line as a stranger uses it: docs/cli.md is typed into a shell, line by line, against a new service."""

import asyncio
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.acceptance.service import Running, service
from tests.acceptance.shell import Example, Shell, examples, shell

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
DEADLINE_S = 30.0
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with service(tmp_path / "idds-state") as running:
        yield running


@pytest.fixture
async def typed(tmp_path: Path, running: Running) -> AsyncIterator[Shell]:
    async with shell(tmp_path, {"IDDS_URL": running.url}) as typed:
        yield typed


async def test_the_page_does_what_it_says(typed: Shell) -> None:
    found = examples(PAGE)
    assert len(found) > 30
    wrong = [
        f"$ {example.command}\n{said}\ninstead of\n{example.expected}"
        for example in found
        if (said := await typed.answers(example, DEADLINE_S)) is not None
    ]
    assert not wrong, "\n\n".join(wrong)


def test_what_stands_for_anything() -> None:
    assert Example("", "a\n...\nb ... 2").is_met_by("a\nx\ny\nb 1 2")
    assert Example("", "a\n...").is_met_by("a\nx\ny")
    assert Example("", "...\na, 5 s ago").is_met_by("x\na,   1 min 3 s ago")
    assert not Example("", "a\n...\nb").is_met_by("a\nx")
    assert not Example("", "a ... b").is_met_by("a\nb")


async def test_a_shell_completes_verbs_options_statuses_and_requests(typed: Shell) -> None:
    await typed.type("export IDDS_TOKEN_FILE=idds-state/token")
    document = '{"name": "n", "works": [{"name": "a", "input": {"registered": {}}}]}'
    assert "request 1" in await typed.type(f"echo '{document}' > n.json; idds submit n.json")
    await typed.type('eval "$(idds --show-completion)"; complete -p idds')
    await typed.type(
        'completes() { COMP_WORDS=("$@" ""); COMP_CWORD=$#; COMP_WORDS[$COMP_CWORD]=$LAST; COMPREPLY=();'
        ' _idds_completion idds; echo "${COMPREPLY[*]}"; }'
    )
    for line, last, completions in (
        ("idds", "su", "submit suspend"),
        ("idds db", "", "upgrade check backup"),
        ("idds serve", "--po", "--port"),
        ("idds list --status", "f", "finished failed"),
        ("idds watch", "", "1"),
    ):
        assert (await typed.type(f"LAST={last} completes {line}")).split() == completions.split(), line


async def test_a_watch_on_a_terminal_draws_and_ends_with_the_request(tmp_path: Path, running: Running) -> None:
    async with running.client() as client:
        request = await client.submit({"name": "n" * 100, "works": [{"name": "a", "input": {"registered": {}}}]})
        while not (collections := (await client.request(request.id)).collections):
            await asyncio.sleep(0.05)
        async with Terminal.of(running, 80, "watch", str(request.id)) as terminal:
            await terminal.until("waits: a: ")
            await client.register(collections[0].id, [{"name": f"c{n}"} for n in range(10)])
            await client.close_collection(collections[0].id)
            await terminal.until("0 of 10 done")
            lease = await client.lease(collections[0].id, count=10, wait_s=20)
            await client.report(collections[0].id, [content.done() for content in lease.contents])
            await terminal.until("10 of 10 done")
            assert await terminal.ended() == 0
        assert "█" * 32 in terminal.seen
        assert "…" in terminal.seen, "what is too long is cut"
        assert "Traceback" not in terminal.seen


class Terminal:
    """A command of `idds` on a terminal of its own, and all that was seen on it."""

    def __init__(self, descriptor: int, process: asyncio.subprocess.Process) -> None:
        self.seen = ""
        self._process = process
        self._descriptor = descriptor
        self._came = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @classmethod
    def of(cls, running: Running, columns: int, *arguments: str) -> "_Opening":
        return _Opening(running, columns, arguments)

    def _read(self) -> None:
        try:
            text = os.read(self._descriptor, 65536)
        except OSError:  # its end, as Linux has it
            text = b""
        if not text:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self.seen += text.decode(errors="replace")
        self._came.set()

    async def until(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.seen:
                await self._came.wait()
                self._came.clear()

    async def ended(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            return await self._process.wait()

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)


class _Opening:
    def __init__(self, running: Running, columns: int, arguments: tuple[str, ...]) -> None:
        self._running = running
        self._columns = columns
        self._arguments = arguments

    async def __aenter__(self) -> Terminal:
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, self._columns, 0, 0))
        try:
            process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("idds")),
                *self._arguments,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env={**os.environ, "TERM": "xterm", "IDDS_URL": self._running.url, "IDDS_TOKEN": self._running.token},
            )
        finally:
            os.close(theirs)
        self._terminal = Terminal(ours, process)
        return self._terminal

    async def __aexit__(self, *_error: object) -> None:
        await self._terminal.close()
