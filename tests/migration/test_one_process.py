"""SQLite means one process: a second one is told so, and by whom the database is held."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from idds.domain.errors import Unavailable
from idds.runtime.lock import hold

HOLD = """
import sys
from idds.domain.errors import Unavailable
from idds.runtime.lock import hold
try:
    with hold(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
except Unavailable as error:
    print(error, flush=True)
"""


def another_process(lock: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(lock)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_second_process_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    lock = tmp_path / "idds.sqlite.lock"
    with hold(str(lock)):
        answer, _ = another_process(lock).communicate(timeout=60)
    assert answer.startswith(
        f"{tmp_path / 'idds.sqlite'} is in use by process {os.getpid()}: SQLite means one process."
    )
    assert "PostgreSQL" in answer


def test_the_lock_ends_with_the_process_however_it_ends(tmp_path: Path) -> None:
    lock = tmp_path / "idds.sqlite.lock"
    with another_process(lock) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Unavailable, match=f"process {other.pid}"), hold(str(lock)):
            pass
        other.kill()
        other.wait(timeout=60)
    with hold(str(lock)):
        assert lock.read_text() == str(os.getpid())
    with hold(str(lock)):
        pass
