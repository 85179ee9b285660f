"""The official client of HSF/iDDS, as it comes from PyPI: a process of its own, for its import name is `idds` too."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Self

TOP = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("idds_client_driver.py")


class ClientError(Exception):
    """What the client raised: the name of its class, and its text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class IddsClient:
    """Its `Client` and `ClientManager`, with a token; use it as a context manager.

    A member of its enumerations is written `RequestType.StageIn`, both ways. Raises RuntimeError where its environment
    is missing.
    """

    def __init__(self, url: str, token: str) -> None:
        self._python = Path(os.environ.get("IDDS_CLIENT_PYTHON") or TOP / ".venv-idds-client" / "bin" / "python")
        if not self._python.exists():
            raise RuntimeError("the official idds-client is not installed: ./tests/run makes .venv-idds-client")
        self._url = f"{url.rstrip('/')}/idds"
        self._token = token
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        told = {"IDDS_HOST": self._url, "IDDS_AUTH_TYPE": "oidc", "IDDS_OIDC_TOKEN": self._token, "IDDS_VO": "vo"}
        self._process = await asyncio.create_subprocess_exec(
            str(self._python),
            "-I",
            str(DRIVER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=kept | told,
            limit=2**24,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """What its `Client` answers. Raises ClientError."""
        return await self._ask("client", method, arguments, named)

    async def manage(self, method: str, *arguments: Any, **named: Any) -> Any:
        """What its `ClientManager` answers, which is what people and JEDI's commands use. Raises ClientError."""
        return await self._ask("manager", method, arguments, named)

    async def _ask(self, on: str, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"on": on, "method": method, "arguments": arguments, "named": named}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "the client ended"
        answer = json.loads(line)
        if "raised" in answer:
            raise ClientError(*answer["raised"])
        return answer["answered"]
