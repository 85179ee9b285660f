"""Requests over the same files, groups that never fit, shares."""

from dataclasses import replace

import pytest

from idds.simulation.running import Trial
from idds.simulation.scenario import Share
from tests.unit.simulation.examples import TAPE, requests, scenario

WINDOW = 300 * 10**9


@pytest.mark.parametrize("strategy", ["fixed", "planned"])
def test_a_group_larger_than_the_window_is_refused_and_the_others_go_on(strategy: str) -> None:
    large = requests("large", files=30, batch=30, file_bytes=10_000_000_000)
    trial = Trial.of(scenario(requests(), large, window_bytes=100 * 10**9))
    outcome = trial.run(strategy)
    assert outcome.refused_groups == 1
    assert sum(outcome.sights.delivered) == sum(trial.layout.bytes[:-1])


@pytest.mark.parametrize("strategy", ["whole", "planned"])
def test_requests_that_share_files_have_them_read_once(strategy: str) -> None:
    alone = Trial.of(scenario(requests()))
    both = Trial.of(scenario(requests(), requests("other", library=None, of="some")))
    one, two = alone.run(strategy), both.run(strategy)
    assert two.bytes == 2 * one.bytes
    assert two.mounts == one.mounts
    assert two.peak_bytes <= one.bytes


@pytest.mark.parametrize(("batch", "part"), [(1, 0.25), (4, 0.0), (4, 0.25), (4, 0.5)])
def test_who_comes_late_joins_and_only_what_was_deleted_before_is_read_again(batch: int, part: float) -> None:
    first = requests(files=2000, batch=batch)
    alone = Trial.of(scenario(first, window_bytes=WINDOW)).run("planned")
    late = requests("late", library=None, of="some", arrives_s=part * alone.makespan / 1e6)
    both = Trial.of(scenario(first, late, window_bytes=WINDOW)).run("planned")
    assert alone.recalled_bytes <= both.recalled_bytes < (1.05 + part) * alone.recalled_bytes
    assert both.makespan < (1.4 + part) * alone.makespan
    assert both.reserved_bytes <= WINDOW


@pytest.mark.parametrize("number", [1, 2])
def test_who_joins_and_processes_slowly_does_not_hold_up_the_first(number: int) -> None:
    """It may keep its part of the disk, and no more."""
    first = requests(files=1500)
    alone = Trial.of(scenario(first, window_bytes=WINDOW)).run("planned")
    slow = requests("slow", library=None, of="some", arrives_s=500.0, slots=1, process_s=600.0, count=number)
    both = Trial.of(scenario(first, slow, window_bytes=WINDOW)).run("planned")
    assert both.makespan > 10 * alone.makespan
    assert both.lasted[0] < 1.5 * alone.lasted[0]


def test_an_express_share_goes_first() -> None:
    first = requests("first", files=1500)
    late = requests("late", arrives_s=5000.0, files=30, share="express")
    shares = {"express": Share(is_express=True)}
    last = [
        Trial.of(scenario(first, late, window_bytes=60 * 10**9, shares=shares)).run("planned").first_last,
        Trial.of(scenario(first, late, window_bytes=60 * 10**9, shares={"express": Share()})).run("planned").first_last,
    ]
    assert last[0] <= last[1]


def test_a_quota_holds() -> None:
    shares = {"small": Share(quota_bytes=30 * 10**9)}
    trial = Trial.of(scenario(requests(share="small"), window_bytes=500 * 10**9, shares=shares))
    assert trial.run("planned").reserved_bytes <= 30 * 10**9


def test_a_tape_with_a_limit_has_no_more_recalls_in_flight() -> None:
    trial = Trial.of(scenario(requests(process_s=0.0), library=replace(TAPE, in_flight=3)))
    most = 4 * max(trial.layout.bytes)
    assert trial.run("planned").reserved_bytes <= 2 * most < trial.run("whole").reserved_bytes
