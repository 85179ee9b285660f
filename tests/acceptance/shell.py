"""A shell that a page of examples is typed into, and whether it answers as the page says."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

BORDER = "---- 8< ----"

# What is another each time, and what stands for it.
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\b\d+ (s|min|h|d)( \d+ (s|min|h))?\b"), "SPAN"),
    (re.compile(r"idds_[A-Za-z0-9_-]+"), "TOKEN"),
    (re.compile(r"\S+-\d+-[0-9a-f]{6}\b"), "PROCESS"),
    (re.compile(r"sqlite:////\S*/idds-state"), "sqlite:////srv/idds-state"),
    (re.compile(r"SQLite \d+\.\d+\.\d+"), "SQLITE"),
    (re.compile(r"\d+ bytes"), "BYTES"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"-{3,}"), "-"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """What is typed, and the lines that are to come back; `...` stands for anything."""

    command: str
    expected: str

    def is_met_by(self, said: str) -> bool:
        return re.fullmatch(_pattern(_steady(self.expected)), _steady(said) + "\n") is not None


def examples(page: Path) -> list[Example]:
    """The examples of a page's `console` blocks: `$` before a command, `>` before what goes on with it."""
    found: list[Example] = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *rest = text.splitlines()
            more = [line for line in rest if line.startswith(">")]
            command = "\n".join([first, *(line.removeprefix(">").removeprefix(" ") for line in more)])
            found.append(Example(command, "\n".join(line for line in rest if not line.startswith(">"))))
    return found


def _steady(text: str) -> str:
    for changing, name in _CHANGING:
        text = changing.sub(name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines() if line.strip())


def _pattern(text: str) -> str:
    """The text as a regular expression; each of its lines ends."""
    lines = [r"(?:.*\n)*?" if line == "..." else _line_pattern(line) for line in text.splitlines()]
    return "".join(lines) or r"\n"


def _line_pattern(line: str) -> str:
    return re.escape(line).replace(re.escape("..."), ".*") + r"\n"


class Shell:
    """A bash to type into."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def type(self, command: str) -> str:
        """What it prints, errors too, until it is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\nprintf '\\n{BORDER}\\n'\n".encode())
        await self._process.stdin.drain()
        said = await self._process.stdout.readuntil(f"\n{BORDER}\n".encode())
        return said.decode().removesuffix(f"\n{BORDER}\n")

    async def answers(self, example: Example, deadline_s: float) -> str | None:
        """None when it answers as it should, at once or, where asking changes nothing, soon; else what it said last."""
        end = asyncio.get_running_loop().time() + deadline_s
        while True:
            said = await self.type(example.command)
            if example.is_met_by(said):
                return None
            if not _READS.match(example.command) or asyncio.get_running_loop().time() > end:
                return said


_READS = re.compile(r"idds (list|show|why|contents|processings|logs|history|events|agents|audit|watch|token list)\b")


@asynccontextmanager
async def shell(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Shell]:
    """In this folder, which is its home too."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "--norc", "--noprofile"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", **environment},
        limit=2**24,
    )
    try:
        yield Shell(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
