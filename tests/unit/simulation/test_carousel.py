"""What holds of every run, whatever the strategy."""

import pytest

from idds.simulation.running import STRATEGIES, Trial
from tests.unit.simulation.examples import requests, scenario


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_request_ends_and_nothing_stays(strategy: str) -> None:
    trial = Trial.of(scenario(requests(count=3, every_s=1000.0), window_bytes=200_000_000_000))
    outcome = trial.run(strategy)
    assert (outcome.requests, outcome.files, outcome.refused_groups) == (3, 900, 0)
    assert outcome.makespan >= outcome.bound > 0
    assert len(outcome.first) == 3
    assert sum(outcome.sights.delivered) == outcome.bytes


@pytest.mark.parametrize("strategy", ["fixed", "planned"])
@pytest.mark.parametrize("window", [60, 200, 1000])
def test_the_window_is_never_passed(strategy: str, window: int) -> None:
    trial = Trial.of(scenario(requests(count=3), window_bytes=window * 10**9))
    outcome = trial.run(strategy)
    assert outcome.peak_bytes <= outcome.reserved_bytes <= window * 10**9
    assert outcome.refused_groups == 0


def test_the_same_seed_is_the_same_run() -> None:
    some = scenario(requests(count=3), window_bytes=100 * 10**9)
    assert Trial.of(some).run("planned") == Trial.of(some).run("planned")
