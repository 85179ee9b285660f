"""Drives, arms and the library's own order."""

from dataclasses import replace

from idds.simulation.layout import Layout
from idds.simulation.library import SECOND, Reading, TapeLibrary
from idds.simulation.scenario import Library

GB = 10**9
PLAIN = Library(
    drives=1,
    arms=1,
    exchange_s=10.0,
    load_s=20.0,
    unload_s=30.0,
    locate_s=100.0,
    file_s=1.0,
    drive_bytes_s=1e9,
    cartridge_bytes=100 * GB,
    patience_s=1000.0,
)


def pieces(*places: tuple[int, int]) -> Layout:
    """Groups of one file with 10 GB, each on a cartridge from a byte (GB) on."""
    layout = Layout()
    for cartridge, at in places:
        layout.files.append(1)
        layout.bytes.append(10 * GB)
        layout.cartridge.append(cartridge)
        layout.at.append(at * GB)
    return layout


def run(library: TapeLibrary, readings: list[Reading]) -> list[Reading]:
    """Let it read to the end; all readings in the order in which they end."""
    done: list[Reading] = []
    while readings:
        readings.sort(key=lambda reading: reading.ends)
        first = readings.pop(0)
        done.append(first)
        if (following := library.read(first.drive, first.ends)) is not None:
            readings.append(following)
    return done


def test_a_mount_a_seek_and_a_read_take_their_time() -> None:
    library = TapeLibrary(PLAIN, pieces((0, 50)))
    (reading,) = library.order([0], 5 * SECOND)
    # The exchange 10, the load 20, half of the tape 50; then 10 GB at 1 GB/s and a second for the file.
    assert reading.begins == (5 + 10 + 20 + 50) * SECOND
    assert reading.ends == reading.begins + 11 * SECOND == reading.first_at
    assert library.read(0, reading.ends) is None
    assert library.mounts == 1


def test_what_is_wanted_of_a_cartridge_is_read_in_one_sweep() -> None:
    library = TapeLibrary(PLAIN, pieces((0, 80), (0, 10), (0, 40)))
    done = run(library, library.order([0, 1, 2], 0))
    assert [reading.group for reading in done] == [1, 2, 0]
    assert library.mounts == 1


def test_what_lies_behind_the_head_waits_for_the_next_sweep() -> None:
    library = TapeLibrary(PLAIN, pieces((0, 40), (0, 10), (0, 80)))
    readings = library.order([0], 0)
    assert library.order([1, 2], readings[0].begins) == []
    assert [reading.group for reading in run(library, readings)] == [0, 2, 1]
    assert library.mounts == 1


def test_a_free_drive_takes_the_cartridge_of_which_most_is_wanted() -> None:
    library = TapeLibrary(PLAIN, pieces((0, 0), (1, 0), (1, 10), (2, 0)))
    assert [reading.group for reading in run(library, library.order([0, 1, 2, 3], 0))] == [1, 2, 0, 3]
    assert library.mounts == 3


def test_a_cartridge_that_waited_too_long_goes_first() -> None:
    layout = pieces((0, 0), (1, 0), (2, 0), (2, 10))

    def order(patience_s: float) -> list[int]:
        library = TapeLibrary(replace(PLAIN, patience_s=patience_s), layout)
        readings = library.order([0], 0)
        library.order([1], 1 * SECOND)
        library.order([2, 3], 2 * SECOND)
        return [reading.group for reading in run(library, readings)]

    assert order(60.0) == [0, 2, 3, 1]
    assert order(30.0) == [0, 1, 2, 3]


def test_putting_a_cartridge_away_takes_time_too() -> None:
    library = TapeLibrary(PLAIN, pieces((0, 0), (1, 0)))
    first, second = run(library, library.order([0, 1], 0))
    # Winding back over 10 GB of 100 takes 10 s, unloading 30; then the exchange and the load.
    assert second.begins - first.ends == (10 + 30 + 10 + 20) * SECOND


def test_drives_wait_for_the_arm() -> None:
    layout = pieces((0, 0), (1, 0))
    alone = TapeLibrary(replace(PLAIN, drives=2), layout).order([0, 1], 0)
    assert [reading.begins for reading in alone] == [30 * SECOND, 40 * SECOND]
    both = TapeLibrary(replace(PLAIN, drives=2, arms=2), layout).order([0, 1], 0)
    assert [reading.begins for reading in both] == [30 * SECOND, 30 * SECOND]


def test_a_cartridge_is_in_one_drive_only() -> None:
    library = TapeLibrary(replace(PLAIN, drives=2), pieces((0, 0), (0, 10)))
    assert len(library.order([0], 0)) == 1
    assert library.order([1], 0) == []
