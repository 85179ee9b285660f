"""The bound is what the tape needs, and nobody is faster."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idds.simulation.library import SECOND
from idds.simulation.running import STRATEGIES, Trial
from tests.unit.simulation.examples import TAPE, requests, scenario


def test_of_one_cartridge_it_can_be_counted_on_fingers() -> None:
    library = replace(TAPE, drives=1, streams=1, of_others=0.0, exchange_s=10.0, load_s=20.0, file_s=1.0)
    wanted = requests(files=10, batch=1, file_bytes=3_000_000_000, spread=0.0, process_s=0.0)
    trial = Trial.of(scenario(wanted, library=library))
    # 10 GB/s of disk and jobs of no time do not hold it up.
    assert trial.bound == round((10 + 20 + 10 * (1 + 10)) * SECOND)
    assert trial.run("whole").makespan == trial.bound


def test_of_two_drives_it_is_half_of_the_work() -> None:
    some = scenario(requests(files=3000, process_s=0.0), library=replace(TAPE, drives=1))
    many = replace(some, libraries={"TAPE": replace(TAPE, drives=2)})
    assert 0.48 < Trial.of(many).bound / Trial.of(some).bound < 0.51


def test_jobs_may_be_what_holds_it_up() -> None:
    trial = Trial.of(scenario(requests(slots=1, process_s=3600.0)))
    assert trial.run("whole").stretch < 1.01
    assert trial.bound > 250 * 3600 * SECOND


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    drives=st.integers(1, 4),
    batch=st.integers(1, 9),
    count=st.integers(1, 4),
    every_s=st.sampled_from([0.0, 500.0, 100_000.0]),
    order=st.sampled_from(["written", "tape"]),
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nobody_is_faster(
    strategy: str, seed: int, drives: int, batch: int, count: int, every_s: float, order: str
) -> None:
    wanted = requests(files=60, batch=batch, count=count, every_s=every_s, order=order)
    again = requests("again", library=None, of="some", arrives_s=2000.0)
    library = replace(TAPE, drives=drives)
    trial = Trial.of(scenario(wanted, again, library=library, window_bytes=400 * 10**9, seed=seed))
    outcome = trial.run(strategy)
    assert outcome.refused_groups == 0
    assert outcome.makespan >= trial.bound
    if strategy != "whole":
        assert outcome.peak_bytes <= outcome.reserved_bytes <= 400 * 10**9
