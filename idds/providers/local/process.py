"""Processes of this machine: telling them apart, seeing them end, ending them."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stat:
    """Some of a line of /proc/PID/stat, see proc(5). `ticks` is when it started, since boot."""

    pid: int
    state: str
    group: int
    session: int
    ticks: int
    rss_pages: int

    @classmethod
    def parse(cls, line: str) -> "Stat":
        """Raises ValueError."""
        # The name in parentheses may itself hold spaces and parentheses.
        head, _, tail = line.rpartition(")")
        fields = tail.split()
        if len(fields) < 22:
            raise ValueError("not a line of /proc/PID/stat")
        return cls(
            int(head.split(" ", 1)[0]), fields[0], int(fields[2]), int(fields[3]), int(fields[19]), int(fields[21])
        )

    @classmethod
    def read(cls, pid: int | str) -> "Stat | None":
        """None when there is no such process."""
        try:
            return cls.parse(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
        except (OSError, ValueError):
            return None


def all_stats() -> Iterator[Stat]:
    for folder in Path("/proc").iterdir():
        stat = Stat.read(folder.name) if folder.name.isdigit() else None
        if stat is not None:
            yield stat


@cache
def boot() -> str:
    """The identity of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, told apart from a later one of the same pid."""

    pid: int
    ticks: int
    boot: str

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """Read a line of /proc/PID/stat followed by the boot's identity. Raises ValueError."""
        line, _, boot_id = text.rpartition(" ")
        stat = Stat.parse(line)
        return cls(stat.pid, stat.ticks, boot_id)


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a child of ours and its waited-for children used; `max_rss_bytes` is of the largest of them."""

    cpu_s: float
    max_rss_bytes: int | None


class Process:
    """A process that leads a session; a child of ours, or adopted.

    `exited` is set when it ends. To be closed.
    """

    def __init__(self, identity: Identity, descriptor: int) -> None:
        self.identity = identity
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._descriptor = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._see_exit)

    @classmethod
    def child(cls, pid: int) -> "Process":
        """A child that nobody has waited for yet."""
        stat = Stat.read(pid)
        identity = Identity(pid, stat.ticks if stat else 0, boot())
        return cls(identity, _descriptor(identity))

    @classmethod
    def adopt(cls, identity: Identity) -> "Process | None":
        """None when it does not run any more. Raises OSError."""
        if identity.boot != boot() or not _runs(identity):
            return None
        try:
            descriptor = _descriptor(identity)
        except ProcessLookupError:
            return None
        # Looked at again now that it is open, so that the descriptor is of the process that was meant.
        if not _runs(identity):
            os.close(descriptor)
            return None
        return cls(identity, descriptor)

    def age_s(self) -> float:
        """Seconds since it started; the machine's clock may be set meanwhile."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.identity.ticks / os.sysconf("SC_CLK_TCK")

    def _see_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        if not self.exited.done():
            self.exited.set_result(None)

    def reap(self) -> Consumption | None:
        """Once it has exited: let it go. None where it was no child of ours."""
        try:
            pid, _, usage = os.wait4(self.identity.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        # A child starts with its parent's peak as its own, so that only what exceeds it was measured.
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Consumption(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 if usage.ru_maxrss > ours else None)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)


def signal_session(identity: Identity, signum: int) -> int:
    """Send a signal to all processes of the session that `identity` leads, or led; to how many. Reads all of /proc."""
    # A number is not given to a new process while a session has it; once given, the session is gone.
    leader = Stat.read(identity.pid)
    if identity.boot != boot() or (leader is not None and leader.ticks != identity.ticks):
        return 0
    members = [stat for stat in all_stats() if stat.session == identity.pid and stat.state != "Z"]
    # A group is signalled at one stroke, which nothing that is just being forked there escapes.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(identity.pid, signum)
    for stat in members:
        if stat.group != identity.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(stat.pid, signum)
    return len(members)


def kill_session(identity: Identity) -> None:
    """Kill them all, also those that were just being forked."""
    for _ in range(10):
        if not signal_session(identity, signal.SIGKILL):
            return


def _runs(identity: Identity) -> bool:
    stat = Stat.read(identity.pid)
    return stat is not None and stat.ticks == identity.ticks


def _descriptor(identity: Identity) -> int:
    try:
        return os.pidfd_open(identity.pid)
    except ProcessLookupError:
        raise
    except OSError:
        # What cannot be watched must not run on: nobody would see its end.
        kill_session(identity)
        raise
