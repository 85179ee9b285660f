"""Importance in a process that lives as long as one answer takes: the service gives it neither time nor memory."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.util import find_spec
from typing import Any

from idds.ports.importance import ImportanceFailure, Weighed

LONGEST_S = 120.0
_PASSED_ON = ("PATH", "PYTHONPATH", "HOME", "LANG")


class ProcessImportance:
    """Fulfils `idds.ports.importance.Importance`: one process at a time, on one core, behind all others."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()

    async def weigh(self, weighed: Weighed) -> Mapping[str, float]:
        if find_spec("optuna") is None:
            raise ImportanceFailure("the service is installed without the extra `search`")
        document = await asyncio.to_thread(_document, weighed)
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(LONGEST_S):
                    answer = await _answer(document)
            except TimeoutError:
                raise ImportanceFailure(f"it takes more than {LONGEST_S:g} s") from None
        if "importance" not in answer:
            raise ImportanceFailure(f"it breaks on this study ({answer.get('failure', 'its process died')})")
        found: dict[str, float] = answer["importance"]
        return found


def _document(weighed: Weighed) -> bytes:
    """Without branches: a point says itself which parameters it has."""
    named = {each.name: getattr(weighed, each.name) for each in fields(weighed)}
    spaces = [
        {name: {**asdict(parameter), "when": None} for name, parameter in space.items()} for space in weighed.spaces
    ]
    return json.dumps({**named, "spaces": spaces}).encode()


async def _answer(document: bytes) -> Mapping[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "idds.search.importance"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate(document)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    answer: Mapping[str, Any] = json.loads(said) if process.returncode == 0 else {}
    return answer
