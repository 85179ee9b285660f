"""Joining what others have recalled: a file that is on disk, or on its way there, is pinned wherever it is wanted.

Whoever comes late to a dataset joins those who are reading it, and reads what it missed when they have ended, as
databases do with scans (Zukowski et al., Cooperative Scans, VLDB 2007).
"""

from collections.abc import Sequence

from idds.domain.replica import Window
from idds.engine.window import Candidate, Room, never


def choose(
    offered: Sequence[Candidate], windows: Sequence[Window], disk: Window | None, parts: int, pinned: tuple[int, int]
) -> list[Candidate]:
    """Those of the groups that are joined now; `pinned` are bytes and files that the input pins already.

    It pins no more than one of so many `parts` of the disk, so that who processes slowly keeps no more from those who
    recall; and in half of that only what has begun to land: all the rest can still be joined when it does.
    """
    whole, half = _room(disk, parts, pinned), _room(disk, 2 * parts, pinned)
    chosen: list[Candidate] = []
    for group in sorted(offered, key=lambda each: not each.has_landed):
        size, files = sum(wanted.bytes for wanted in group.contents), len(group.contents)
        room = whole if group.has_landed else half
        if group.files or any(never(group, window) for window in windows) or not room.fits(size, files):
            continue
        whole.take(size, files)
        half.take(size, files)
        chosen.append(group)
    return chosen


def _room(disk: Window | None, parts: int, pinned: tuple[int, int]) -> Room:
    limits = (None, None) if disk is None else (disk.limit_bytes, disk.limit_files)
    size, files = (None if limit is None else limit // parts for limit in limits)
    return Room("a part of the disk", size, pinned[0], files, pinned[1], yields_to_one=True)
