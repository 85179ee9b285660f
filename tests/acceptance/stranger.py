"""What a stranger has: curl and the command line, each a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.service import PATIENCE_S

IDDS = str(Path(sys.executable).with_name("idds"))


class Stranger:
    """Somebody with a token for the service at `url`."""

    def __init__(self, url: str, token: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._token_file = folder / "token"
        self._token_file.write_text(token)
        self._config = folder / "token.curl"
        self._config.write_text(f'header = "Authorization: Bearer {token}"\n')

    async def curl(self, path: str, *options: str) -> str:
        """What curl prints."""
        _, out = await self._run(*self._curl(path, *options))
        return out

    async def get(self, path: str) -> Any:
        return json.loads(await self.curl(path, "--fail-with-body"))

    async def post(self, path: str, document: Any = None) -> Any:
        body = () if document is None else ("-H", "Content-Type: application/json", "-d", json.dumps(document))
        return json.loads(await self.curl(path, "--fail-with-body", "-X", "POST", *body))

    async def status(self, path: str, *options: str) -> int:
        """The status of the answer alone."""
        return int(await self.curl(path, "-o", "/dev/null", "-w", "%{http_code}", *options))

    async def idds(self, *arguments: str) -> tuple[int, str]:
        """The exit code of the command line, and what it prints."""
        return await self._run(IDDS, "--url", self._url, "--token-file", str(self._token_file), *arguments)

    @asynccontextmanager
    async def listening(self, path: str, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """curl on a stream of events."""
        process = await asyncio.create_subprocess_exec(
            *self._curl(path, "--no-buffer", *options), stdout=asyncio.subprocess.PIPE, limit=2**20
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    def _curl(self, path: str, *options: str) -> tuple[str, ...]:
        return ("curl", "-sS", "--config", str(self._config), *options, f"{self._url}{path}")

    async def _run(self, *command: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, cwd=self._folder, env={**os.environ, "COLUMNS": "200"}
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, out.decode()
