"""Which of several: the source that a file is recalled from, and the disk that an input is brought to."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceOption:
    """An RSE that has a file. `queued_bytes` are on their way from it to us, `bytes_per_s` came of late (0: none).

    `held` says why nothing is recalled from it.
    """

    rse: str
    is_tape: bool
    queued_files: int = 0
    queued_bytes: int = 0
    bytes_per_s: float = 0.0
    held: str | None = None


@dataclass(frozen=True, slots=True)
class DiskOption:
    """A disk RSE. `free_bytes` and `free_files` are left in its window (None: any number); `waiting` wait for it.

    The smaller `distance` is, the nearer it is to where the work runs. `held` says why nothing is brought to it.
    """

    rse: str
    free_bytes: int | None = None
    free_files: int | None = None
    waiting: int = 0
    bytes_per_s: float = 0.0
    distance: int = 0
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and why in words."""

    rse: str
    reason: str


def order_sources(options: Sequence[SourceOption], size: int) -> list[Choice]:
    """Where a file of `size` bytes can come from, the best first: what is held comes last, and disks before tapes.

    Of several tapes the one goes first from which it would come the soonest: behind what is queued there already, as
    fast as it went of late.
    """
    # One that nobody knows of is taken to be as fast as the best: else it would never become known.
    known = max((each.bytes_per_s for each in options), default=0.0)

    def turn(option: SourceOption) -> tuple[bool, bool, float, int, str]:
        speed = option.bytes_per_s or known
        behind = (option.queued_bytes + size) / speed if speed else 0.0
        return option.held is not None, option.is_tape, behind, option.queued_files, option.rse

    return [Choice(each.rse, _of_source(each, len(options))) for each in sorted(options, key=turn)]


def choose_disk(options: Sequence[DiskOption]) -> Choice:
    """The disk to bring an input to: not a held one, near, with much room for how many wait for it. Raises ValueError.

    Nearness goes before room, as it is for the whole life of the input, and room comes and goes.
    """
    if not options:
        raise ValueError("there is no disk to choose")

    def turn(option: DiskOption) -> tuple[bool, int, bool, float, float, str]:
        full = option.free_bytes == 0 or option.free_files == 0
        room = float("inf") if option.free_bytes is None else option.free_bytes / (1 + option.waiting)
        return option.held is not None, option.distance, full, -room, -option.bytes_per_s, option.rse

    best = min(options, key=turn)
    return Choice(best.rse, _of_disk(best, len(options)))


def _of_source(option: SourceOption, number: int) -> str:
    if option.held is not None:
        return f"{option.rse} is held ({option.held}), as are all others" if number > 1 else f"{option.rse} is held"
    if number == 1:
        return f"it is on {option.rse} only"
    if not option.is_tape:
        return f"{option.rse} of {number}: it is on disk there"
    speed = f"{option.bytes_per_s / 1e6:.1f} MB/s of late" if option.bytes_per_s else "its speed is not known yet"
    return f"{option.rse} of {number}: {option.queued_files} files are before it, {speed}"


def _of_disk(option: DiskOption, number: int) -> str:
    if number == 1:
        return f"{option.rse} is the only one"
    if option.held is not None:
        return f"{option.rse} is held ({option.held}), as are all others"
    room = "no limit" if option.free_bytes is None else f"{option.free_bytes} bytes left in its window"
    return f"{option.rse} of {number}: distance {option.distance}, {room}, {option.waiting} wait for it"
