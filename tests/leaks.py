"""A test that leaves a task, a child process or a file descriptor behind fails.

What fixtures of a wider scope than a function open belongs to them, whenever they are first asked for.
"""

import asyncio
import contextlib
import gc
import inspect
import multiprocessing.resource_tracker
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

DEADLINE_S = 5.0
"""What is about to end has this long to do so."""


@dataclass(frozen=True)
class Belongings:
    """What this process holds: its children by (id, start) and its open files by (descriptor, what it leads to)."""

    children: frozenset[tuple[int, float]]
    files: frozenset[tuple[int, str]]

    @classmethod
    def now(cls) -> "Belongings":
        return cls(frozenset(_children()), frozenset(_files()))

    def __sub__(self, other: "Belongings") -> "Belongings":
        return Belongings(self.children - other.children, self.files - other.files)

    def __or__(self, other: "Belongings") -> "Belongings":
        return Belongings(self.children | other.children, self.files | other.files)

    def __bool__(self) -> bool:
        return bool(self.children or self.files)

    def __str__(self) -> str:
        children = [f"process {pid} ({_name(pid)})" for pid, _ in sorted(self.children)]
        return ", ".join(children + [f"descriptor {fd} ({target})" for fd, target in sorted(self.files)])


before_key = pytest.StashKey[Belongings]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[before_key] = Belongings.now()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> Iterator[None]:
    if fixturedef.scope == "function":
        return (yield)
    before = Belongings.now()
    result = yield
    request._pyfuncitem.stash[before_key] |= Belongings.now() - before
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    result = yield
    before = item.stash[before_key]
    leaked = _wait_while(lambda: Belongings.now() - before)
    if leaked:
        pytest.fail(f"the test left behind: {leaked}", pytrace=False)
    return result


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """First in, last out: at its end all that the test and its fixtures started in the loop must have ended."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=DEADLINE_S)
    if left:
        pytest.fail(f"the test left tasks behind: {sorted(map(str, left))}", pytrace=False)


@pytest.fixture(autouse=True)
def no_leak(request: pytest.FixtureRequest) -> None:
    """Only a test in a loop can leave tasks in it."""
    if inspect.iscoroutinefunction(getattr(request.function, "__func__", request.function)):
        request.getfixturevalue("no_task_left")


def _wait_while(look: Callable[[], Belongings]) -> Belongings:
    if not (found := look()):
        return found
    gc.collect()
    end = time.monotonic() + DEADLINE_S
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def _children() -> Iterator[tuple[int, float]]:
    tracker = getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None)
    try:
        pids = [
            int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
        ]
    except OSError:
        pids = [child.pid for child in psutil.Process().children()]
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if pid != tracker:
                yield pid, psutil.Process(pid).create_time()


def _files() -> Iterator[tuple[int, str]]:
    tracker = getattr(multiprocessing.resource_tracker._resource_tracker, "_fd", None)
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/dev/fd/{name}")
            if int(name) != tracker and target not in {"/dev/null", "/dev/urandom"}:
                yield int(name), target


def _name(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline()[:4]) or "ended, never waited for"
    except psutil.Error:
        return "gone"
