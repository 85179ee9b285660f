"""The demo as a user runs it: a process, its folder, and what it says at its end."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

START = "from idds.cli.main import app; app(prog_name='idds')"
DEADLINE_S = 120.0
"""A small demo takes a tenth of it, on a machine that has nothing else to do."""
LOOK_S = 0.005


@dataclass(frozen=True)
class DemoFolder:
    path: Path

    @contextmanager
    def running(self, *options: str) -> Iterator["DemoProcess"]:
        """A demo in this folder; killed, should it still run at the end of the block."""
        command = [sys.executable, "-c", START, "demo", "--json", "--directory", str(self.path), *options]
        logs = self.path.with_name(f"{self.path.name}.{time.monotonic_ns()}.stderr")
        with logs.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process:
            try:
                yield DemoProcess(process, logs)
            finally:
                process.kill()

    def entries(self) -> int:
        """How much was seen so far: of the disk, and of messages."""
        files = [self.path / name for name in ("disk.jsonl", "announcements.jsonl")]
        return sum(file.read_bytes().count(b"\n") for file in files if file.exists())

    def runs(self) -> int:
        file = self.path / "runs.jsonl"
        return file.read_bytes().count(b'"started"') if file.exists() else 0

    def summary(self) -> dict[str, Any] | None:
        """Of a run that came to its end."""
        file = self.path / "summary.json"
        return json.loads(file.read_text()) if file.exists() else None

    def processes(self) -> list[str]:
        """The command lines of all processes that have to do with this folder."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if str(self.path) in line:
                found.append(line)
        return found


@dataclass(frozen=True)
class DemoProcess:
    process: subprocess.Popen[bytes]
    logs: Path

    def finish(self) -> dict[str, Any]:
        """Its summary, when it has ended well."""
        output, _ = self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0, f"{self.logs.read_text()}\n{output.decode()}"
        summary: dict[str, Any] = json.loads(output)
        return summary

    def until(self, condition: Callable[[], bool]) -> bool:
        """Whether the condition came true; it may be that the process ended first."""
        return wait_until(lambda: condition() or self.process.poll() is not None) and self.process.poll() is None

    def kill(self) -> None:
        """kill -9, of this process alone: what it started runs on."""
        self.process.kill()
        self.process.communicate()


def wait_until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> bool:
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{condition} did not come true")
        time.sleep(LOOK_S)
    return True


def check(summary: dict[str, Any], files: int) -> None:
    """All that the demo promises, whatever happened on the way."""
    assert summary["broken"] == []
    assert summary["status"] == "finished"
    assert summary["lost"] == summary["doubled"] == summary["failures"] == []
    assert summary["files"] == summary["outputs"] == files
    assert summary["images"] == summary["images_expected"]
    assert sum(summary["images"]) == 1797
    assert 0 < summary["highest_bytes"] <= summary["window_bytes"] == summary["bytes"] // 10
    assert summary["replicas_left"] == 0
