"""The watch over what tests leave behind finds what it should, and nothing else."""

import pytest

SUSPECTS = """
import asyncio, os, subprocess, sys
import pytest

held = []

@pytest.fixture(scope="module")
def shared():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"")

def test_clean(shared):
    subprocess.run([sys.executable, "-c", ""], check=True)

async def test_clean_loop(shared):
    await asyncio.create_task(asyncio.sleep(0))

def test_descriptor():
    held.append(os.open(__file__, os.O_RDONLY))

def test_process():
    held.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

async def test_task():
    held.append(asyncio.create_task(asyncio.Event().wait()))

def test_clean_after_the_others(shared):
    held[1].communicate(b"")
    os.close(held[0])
"""


def test_each_leak_is_found(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.leaks.DEADLINE_S", 0.2)
    pytester.makepyfile(SUSPECTS)
    options = ["-p", "tests.leaks", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    result = pytester.runpytest_inprocess(*options, "-o", "asyncio_default_fixture_loop_scope=function")
    result.assert_outcomes(passed=6, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_descriptor*",
            "*the test left behind: descriptor *",
            "*ERROR at teardown of test_process*",
            "*the test left behind: process *",
            "*ERROR at teardown of test_task*",
            "*the test left tasks behind: *",
        ]
    )
