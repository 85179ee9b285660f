"""Where files lie."""

from dataclasses import replace
from itertools import pairwise

from idds.simulation.layout import lay_out
from tests.unit.simulation.examples import TAPE, requests, scenario


def test_cartridges_are_written_in_turn_and_not_beyond_their_end() -> None:
    layout = lay_out(scenario(requests(files=1000, batch=7)))
    assert sum(layout.files) == 1000
    assert list(layout.files[:-1]) == [7] * 142
    assert list(dict.fromkeys(layout.cartridge[:12])) == [0, 1, 2, 3]
    ends = [at + size for at, size in zip(layout.at, layout.bytes, strict=True)]
    assert max(ends) <= TAPE.cartridge_bytes
    lying = sorted(zip(layout.cartridge, layout.at, layout.bytes, strict=True))
    for (cartridge, at, size), (other, behind, _) in pairwise(lying):
        assert cartridge != other or at + size <= behind


def test_in_the_order_of_the_tapes() -> None:
    written = lay_out(scenario(requests()))
    sorted_ones = lay_out(scenario(requests(order="tape")))
    places = list(zip(sorted_ones.cartridge, sorted_ones.at, strict=True))
    assert places == sorted(places) == sorted(zip(written.cartridge, written.at, strict=True))
    assert places != list(zip(written.cartridge, written.at, strict=True))


def test_others_data_lie_in_between() -> None:
    dense = lay_out(scenario(requests(), library=replace(TAPE, of_others=0.0)))
    sparse = lay_out(scenario(requests(), library=replace(TAPE, of_others=0.8)))
    assert len(set(sparse.cartridge)) > len(set(dense.cartridge))
    assert dense.bytes == sparse.bytes


def test_sizes_have_the_mean_that_was_said_however_many_are_drawn_at_once() -> None:
    for batch in (1, 10, 100):
        layout = lay_out(scenario(requests(files=20_000, batch=batch, file_bytes=1_000_000, spread=1.0)))
        assert abs(sum(layout.bytes) / 20_000 / 1_000_000 - 1) < 0.05


def test_requests_over_the_same_datasets() -> None:
    own, other = requests("own", count=2), requests("other", library=None, of="own", count=3)
    layout = lay_out(scenario(own, other))
    assert [layout.dataset(other, number) for number in range(3)] == [
        layout.dataset(own, 0),
        layout.dataset(own, 1),
        layout.dataset(own, 0),
    ]
