from hypothesis import given
from hypothesis import strategies as st

from idds.ddm.posix.schedule import Schedule


def read_all(schedule: Schedule[str], mounted: str | None = None, head: int = 0) -> list[str]:
    """What one drive reads, in order."""
    read = []
    while (cartridge := schedule.cartridge(mounted, ())) is not None:
        mounted, head = cartridge, head if cartridge == mounted else 0
        chosen = schedule.next(cartridge, head)
        assert chosen is not None
        head = chosen[0] + 1
        read.append(chosen[1])
    return read


def scheduled(*places: tuple[str, int]) -> Schedule[str]:
    schedule: Schedule[str] = Schedule()
    for cartridge, position in places:
        schedule.add(cartridge, position, f"{cartridge}{position}")
    return schedule


def test_a_cartridge_is_read_in_order_of_position() -> None:
    assert read_all(scheduled(("A", 5), ("A", 1), ("A", 3))) == ["A1", "A3", "A5"]


def test_a_cartridge_stays_while_anything_waits_for_it() -> None:
    assert read_all(scheduled(("A", 2), ("B", 1), ("A", 1), ("B", 0))) == ["A1", "A2", "B0", "B1"]


def test_the_mounted_cartridge_is_preferred() -> None:
    assert read_all(scheduled(("A", 0), ("B", 0)), mounted="B") == ["B0", "A0"]


def test_the_next_cartridge_is_that_waiting_longest() -> None:
    assert read_all(scheduled(("B", 9), ("A", 0), ("A", 1))) == ["B9", "A0", "A1"]


def test_the_head_sweeps_forward_before_it_goes_back() -> None:
    assert read_all(scheduled(("A", 1), ("A", 7), ("A", 4)), mounted="A", head=4) == ["A4", "A7", "A1"]


def test_a_cartridge_in_another_drive_is_left_to_it() -> None:
    schedule = scheduled(("A", 0), ("B", 0))
    assert schedule.cartridge(None, {"A"}) == "B"
    assert schedule.cartridge(None, {"A", "B"}) is None
    assert schedule.cartridge("C", {"A", "B"}) is None


def test_what_is_removed_is_not_read() -> None:
    schedule = scheduled(("A", 1), ("A", 2))
    item = "twin"
    schedule.add("A", 1, item)
    assert schedule.remove("A", 1, item)
    assert not schedule.remove("A", 1, item)
    assert not schedule.remove("B", 1, item)
    assert read_all(schedule) == ["A1", "A2"]
    assert schedule.next("A", 0) is None


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 30))), st.data())
def test_everything_is_read_once_with_as_many_mounts_as_cartridges(
    places: list[tuple[str, int]], data: st.DataObject
) -> None:
    schedule: Schedule[tuple[str, int, int]] = Schedule()
    items = [(cartridge, position, no) for no, (cartridge, position) in enumerate(places)]
    for item in items:
        schedule.add(item[0], item[1], item)
    removed = data.draw(st.lists(st.sampled_from(items), unique=True)) if items else []
    assert all(schedule.remove(item[0], item[1], item) for item in removed)
    read: list[tuple[str, int, int]] = []
    mounts, mounted, head = 0, None, 0
    while (cartridge := schedule.cartridge(mounted, ())) is not None:
        if cartridge != mounted:
            mounts, mounted, head = mounts + 1, cartridge, 0
        chosen = schedule.next(cartridge, head)
        assert chosen is not None
        head = chosen[0] + 1
        read.append(chosen[1])
    assert sorted(read) == sorted(set(items) - set(removed))
    assert mounts == len({item[0] for item in read})
