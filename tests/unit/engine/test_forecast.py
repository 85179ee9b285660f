"""Nine of ten ends are within the interval that was told, whatever the way things come; and nothing is made up."""

from collections.abc import Callable
from random import Random

import pytest

from idds.domain.carousel import Eta
from idds.engine.forecast import LEAST, binned, eta

WIDTH = 60_000_000
TRIALS = 400

Stream = Callable[[Random], Callable[[], float]]


def steady(random: Random) -> Callable[[], float]:
    return lambda: random.gauss(100, 20)


def bursty(random: Random) -> Callable[[], float]:
    """Most times nothing, now and then a tape full of files."""
    return lambda: random.expovariate(1 / 400) if random.random() < 0.25 else 0.0


def correlated(random: Random) -> Callable[[], float]:
    state = [0.0]

    def step() -> float:
        state[0] = 0.6 * state[0] + random.gauss(0, 25)
        return max(0.0, 100 + state[0])

    return step


@pytest.mark.parametrize("stream", [steady, bursty, correlated])
@pytest.mark.parametrize("left", [500.0, 5000.0, 20000.0])
def test_nine_of_ten_ends_are_within_the_interval(stream: Stream, left: float) -> None:
    random = Random(7)
    inside = 0
    for _ in range(TRIALS):
        step = stream(random)
        known = [step() for _ in range(40)]
        told = eta(left, known, WIDTH)
        assert told is not None
        came, times = 0.0, 0
        while came < left:
            came, times = came + step(), times + 1
        # It ends somewhere within the last time.
        inside += told.low <= times * WIDTH and (times - 1) * WIDTH <= told.high
    assert 0.80 <= inside / TRIALS <= 1.0


def test_a_steady_stream_ends_when_it_should() -> None:
    assert eta(300.0, [100.0] * 10, WIDTH) == Eta(3 * WIDTH, 3 * WIDTH, 3 * WIDTH)


def test_an_unsteady_one_is_less_sure() -> None:
    sure, unsure = eta(1000.0, [90.0, 110.0] * 20, WIDTH), eta(1000.0, [0.0, 200.0] * 20, WIDTH)
    assert sure is not None
    assert unsure is not None
    assert sure.expected == unsure.expected
    assert unsure.low < sure.low < sure.expected < sure.high < unsure.high


@pytest.mark.parametrize("came", [[], [5.0] * (LEAST - 1), [0.0] * 50])
def test_nothing_is_told_where_nothing_is_known(came: list[float]) -> None:
    assert eta(10.0, came, WIDTH) is None


def test_nothing_left_has_come_already() -> None:
    assert eta(0.0, [], WIDTH) == Eta(0, 0, 0)


def test_what_is_outside_of_the_bins_is_left_out() -> None:
    assert binned([(9, 1.0), (10, 2.0), (19, 3.0), (20, 4.0), (30, 5.0)], 10, 10, 2) == [5.0, 4.0]
