"""Telling processes apart, and telling listeners of jobs."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from idds.domain.identifiers import Handle
from idds.providers.local import hints
from idds.providers.local.hints import Hints
from idds.providers.local.memory import sizes_of
from idds.providers.local.process import Identity, Process, Stat, boot, signal_session

LINE = "42 (a) b (c)) S 1 42 40 0 -1 4194304 6 0 0 0 0 0 0 0 20 0 1 0 143823 524288 77 18446744073709551615"


def myself() -> Identity:
    stat = Stat.read(os.getpid())
    assert stat is not None
    return Identity(stat.pid, stat.ticks, boot())


def test_a_line_of_proc() -> None:
    assert Stat.parse(LINE) == Stat(pid=42, state="S", group=42, session=40, ticks=143823, rss_pages=77)
    assert Identity.parse(f"{LINE} boot-id") == Identity(42, 143823, "boot-id")


@pytest.mark.parametrize("text", ["", "never", "1 (sh) S", "1 2 3"])
def test_what_is_no_such_line(text: str) -> None:
    with pytest.raises(ValueError):
        Identity.parse(text)


async def test_a_process_is_adopted_only_if_it_is_the_one_that_was_meant() -> None:
    me = myself()
    process = Process.adopt(me)
    assert process is not None
    assert process.age_s() > 0
    assert not process.exited.done()
    process.close()
    assert Process.adopt(replace(me, ticks=me.ticks + 1)) is None
    assert Process.adopt(replace(me, boot="another")) is None
    assert Process.adopt(replace(me, pid=2**22 + 1)) is None


async def test_a_session_of_somebody_else_gets_no_signal() -> None:
    # Signal 0 only looks; the session is led by the first process of this machine or of its own making.
    me = replace(myself(), pid=os.getsid(0))
    leader = Stat.read(me.pid)
    assert signal_session(replace(me, ticks=leader.ticks if leader else 0), 0) > 0
    assert signal_session(replace(me, ticks=(leader.ticks if leader else 0), boot="another"), 0) == 0
    assert leader is None or signal_session(replace(me, ticks=leader.ticks + 1), 0) == 0


def test_the_memory_of_sessions() -> None:
    session = os.getsid(0)
    generous = sizes_of({session: 10**15})[session]
    strict = sizes_of({session: 1})[session]
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert generous > own / 2
    assert strict > 0
    assert sizes_of({}) == {}


async def test_hints_are_coalesced_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "MAX_PENDING", 3)
    told = Hints()
    first, second = told.listen(), told.listen()
    waiting = [asyncio.ensure_future(anext(one)) for one in (first, second)]
    await asyncio.sleep(0)
    told.tell(Handle("a"))
    assert [await one for one in waiting] == [("a",), ("a",)]
    for name in ("b", "c", "b", "d", "e", "f"):
        told.tell(Handle(name))
    assert await anext(first) == ("b", "c", "d")
    await first.aclose()
    told.tell(Handle("g"))
    assert await anext(second) == ("b", "c", "d")
    await second.aclose()
    told.tell(Handle("h"))
