"""A payload's command, run on leased contents: in a folder of its own, as a process group of its own.

It speaks the formats of `idds.sdk.payload`: `input.json`, `output.json`, and the lines of `outcomes.ndjson`, which are
read while it runs.
"""

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from idds.domain.content import Outcome
from idds.sdk.reading import Unreadable, read
from idds.sdk.views import LeasedContent

SECRETS = ("IDDS_TOKEN", "IDDS_TOKEN_FILE")
"""What a payload needs not know."""
READ_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True)
class Told:
    """What a payload says came of a content."""

    id: int
    status: Literal["done", "failed"]
    reason: str | None = None
    retry: bool = True
    objective_values: tuple[float, ...] = ()
    events: int | None = None

    def outcome(self, content: LeasedContent) -> Outcome:
        """To be reported of this content."""
        if self.status == "done":
            return content.done(*self.objective_values, events=self.events)
        return content.failed(self.reason or "the payload gave no reason", retry=self.retry)


class Command:
    """One run of it. `folder` exists, and is empty."""

    def __init__(self, argv: Sequence[str], contents: Sequence[LeasedContent], folder: Path) -> None:
        self._argv = tuple(argv)
        self._contents = tuple(contents)
        self._folder = folder
        self._outcomes = folder / "outcomes.ndjson"
        self._read_to = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Raises OSError where the command cannot be run."""
        await asyncio.to_thread(self._prepare)
        self._process = await asyncio.create_subprocess_exec(
            *self._argv, cwd=self._folder, env=self._environment(), start_new_session=True
        )

    def _prepare(self) -> None:
        (self._folder / "outputs").mkdir()
        (self._folder / "input.json").write_text(json.dumps(_document(self._contents)), encoding="utf-8")

    def _environment(self) -> Mapping[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if name not in SECRETS},
            "IDDS_INPUT": str(self._folder / "input.json"),
            "IDDS_OUTPUT": str(self._folder / "output.json"),
            "IDDS_OUTCOMES": str(self._outcomes),
        }

    async def wait(self) -> int:
        """Its exit code, as a shell has it: 128 and the signal's number where one ended it."""
        assert self._process is not None
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def end(self, grace_s: float) -> None:
        """Let it know that it is to end, and end it after `grace_s`; with all that it started."""
        assert self._process is not None
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def news(self) -> list[Told]:
        """What stands in the file of outcomes since the last look; a line that is no outcome is passed over."""
        return await asyncio.to_thread(self._news)

    def _news(self) -> list[Told]:
        try:
            with self._outcomes.open("rb") as file:
                file.seek(self._read_to)
                block = file.read(READ_AT_ONCE)
        except FileNotFoundError:
            return []
        whole = block[: block.rfind(b"\n") + 1]
        self._read_to += len(whole)
        return list(_told(whole.splitlines()))

    async def conclusion(self) -> list[Told]:
        """What `output.json` says. Raises ValueError, with the place, where that is not as it should be."""
        return await asyncio.to_thread(self._conclusion)

    def _conclusion(self) -> list[Told]:
        try:
            text = (self._folder / "output.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        try:
            document = json.loads(text)
            contents = document.get("contents", []) if isinstance(document, dict) else None
            return list(read(tuple[Told, ...], contents, "/contents"))
        except ValueError as error:
            raise ValueError(f"output.json: {error}") from None


def _told(lines: Sequence[bytes]) -> Iterator[Told]:
    for line in lines:
        with suppress(ValueError, Unreadable):
            yield read(Told, json.loads(line))


def _document(contents: Sequence[LeasedContent]) -> dict[str, Any]:
    described = [{k: v for k, v in asdict(content).items() if k != "lease_until"} for content in contents]
    return {"processing": None, "attempt": 1, "contents": described, "outputs": "outputs"}
