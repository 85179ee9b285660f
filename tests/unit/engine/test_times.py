"""A distribution kept in classes tells what the times themselves would, within what a class is wide."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from idds.engine.times import PER_OCTAVE, Times, class_of, middle_of

WIDTH = 2 ** (1 / PER_OCTAVE)


def times(*took: int) -> Times:
    return Times(Counter(map(class_of, took)))


@given(st.integers(1000, 10**13))
def test_what_stands_for_a_class_is_near_all_of_it(took: int) -> None:
    # A microsecond is what rounding to whole ones may cost.
    assert took / WIDTH - 1 <= middle_of(class_of(took)) <= took * WIDTH + 1


@given(st.lists(st.integers(1000, 10**12), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_near_the_one_of_the_times_themselves(took: list[int], q: float) -> None:
    ordered = sorted(took)
    exact = next(value for rank, value in enumerate(ordered, 1) if rank >= q * len(ordered) - 1e-9)
    found = times(*took).quantile(q)
    assert found is not None
    assert exact / WIDTH - 1 <= found <= exact * WIDTH + 1


def test_nothing_has_no_quantile() -> None:
    assert times().quantile(0.5) is None
    assert times().n == 0
