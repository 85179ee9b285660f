"""kill -9 of the whole service, at many moments: nothing is lost, nothing is doubled.

Which moments is told by a seed. More of them, and another seed:

    KILLS=100 SEED=7 pytest -s --timeout 0 tests/acceptance/test_demo_kills.py
"""

import os
import random
import time
from pathlib import Path
from typing import Any

from tests.acceptance.demo_process import DemoFolder, DemoProcess, check, wait_until

KILLS = int(os.environ.get("KILLS", "6"))
SEED = int(os.environ.get("SEED", "1"))
FILES = 40
OPTIONS = ("--files", str(FILES), "--recall-s", "2", "--samples", "6")
ENTRIES_BETWEEN = 60
"""On average. A whole job leaves about four hundred entries."""


def test_killed_at_any_moment_it_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    kills = jobs = 0
    while kills < KILLS:
        folder = DemoFolder(tmp_path / f"demo-{jobs}")
        summary, killed = run_killed(folder, chance, KILLS - kills)
        check(summary, FILES)
        # A kill between the last word and the exit comes too late to stand in it.
        assert killed - 1 <= summary["kills"] <= killed
        wait_until(lambda folder=folder: folder.processes() == [], 30)
        kills, jobs = kills + killed, jobs + 1
        print(f"seed {SEED}: {kills} kills over {jobs} jobs, 0 lost, 0 doubled")


def run_killed(folder: DemoFolder, chance: random.Random, most: int) -> tuple[dict[str, Any], int]:
    """A job's summary, and how often it was killed before its end, `most` times at most."""
    killed = 0
    while killed < most:
        entries, moment_s = int(chance.expovariate(1 / ENTRIES_BETWEEN)), chance.uniform(0, 0.05)
        before = (folder.runs(), folder.entries())
        with folder.running(*OPTIONS) as demo:
            if not reaches(folder, demo, before, entries):
                return demo.finish(), killed
            time.sleep(moment_s)
            demo.kill()
            killed += 1
        if (summary := folder.summary()) is not None:
            return summary, killed
    with folder.running(*OPTIONS) as demo:
        return demo.finish(), killed


def reaches(folder: DemoFolder, demo: DemoProcess, before: tuple[int, int], entries: int) -> bool:
    """Whether the demo begins its run, and sees so much in it before it ends."""
    runs, seen = before
    return demo.until(lambda: folder.runs() > runs) and demo.until(lambda: folder.entries() >= seen + entries)
