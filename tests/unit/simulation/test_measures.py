"""What runs are judged by."""

import pytest

from idds.simulation.measures import jain
from idds.simulation.running import Trial, smallest_window
from tests.unit.simulation.examples import requests, scenario


def test_jain() -> None:
    assert jain([3, 3, 3]) == 1
    assert jain([5, 0, 0, 0]) == 0.25
    assert jain([1, 3]) == pytest.approx(0.8)


def test_whole_datasets_are_unfair_and_fill_the_disk() -> None:
    trial = Trial.of(scenario(requests(count=4, files=600), window_bytes=200 * 10**9))
    whole, planned = trial.run("whole"), trial.run("planned")
    assert whole.peak_bytes > 5 * planned.peak_bytes
    assert planned.unfairness < whole.unfairness
    assert planned.first_last < whole.first_last


def test_one_request_competes_with_nobody() -> None:
    assert Trial.of(scenario(requests())).run("planned").unfairness == 0


def test_the_smallest_window_is_enough_and_a_smaller_one_is_not() -> None:
    trial = Trial.of(scenario(requests(count=2, files=600)))
    longest = round(1.05 * trial.run("planned", trial.bytes).makespan)
    found = smallest_window(trial, "planned", longest)
    assert found is not None
    assert found.makespan <= longest
    assert found.window_bytes < trial.bytes
    assert trial.run("planned", found.window_bytes // 2).makespan > longest


def test_no_window_is_enough_for_the_impossible() -> None:
    trial = Trial.of(scenario(requests()))
    assert smallest_window(trial, "planned", trial.bound - 1) is None
