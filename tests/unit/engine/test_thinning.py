"""Of very many values on the way one here and there is kept."""

from itertools import pairwise

import pytest

from idds.engine.thinning import DENSE, kept


class Kept:
    """What the store keeps of a sample."""

    def __init__(self) -> None:
        self.steps: set[int] = set()
        self.ends: tuple[int | None, int | None] = (None, None)

    def say(self, *steps: int) -> list[int]:
        new, again = kept(steps, *self.ends)
        if new:
            self.steps |= set(new)
            known = [end for end in self.ends if end is not None]
            self.ends = min([*known, *new]), max([*known, *new])
        return again


def said(steps: range, at_a_time: int) -> set[int]:
    sample = Kept()
    for some in [steps[n : n + at_a_time] for n in range(0, len(steps), at_a_time)]:
        assert sample.say(*some) == []
    return sample.steps


@pytest.mark.parametrize("first", [0, 1, 10**6, 1_700_000_000])
@pytest.mark.parametrize("every", [1, 10, 4096])
def test_thousands_are_kept_wherever_they_begin_and_however_far_they_are_apart(first: int, every: int) -> None:
    steps = range(first, first + 2000 * every, every)
    assert said(steps, 1) == set(steps)


def test_a_million_keep_fifteen_thousand_evenly_in_their_logarithm() -> None:
    found = sorted(said(range(10**6), 1000))
    assert found[:DENSE] == list(range(DENSE))
    assert 13_000 < len(found) < 16_000
    assert all(after - before <= after / (DENSE / 2) + 1 for before, after in pairwise(found))


def test_which_are_kept_does_not_depend_on_how_many_are_said_at_a_time() -> None:
    steps = range(0, 60_000, 3)
    assert said(steps, 1) == said(steps, 7) == said(steps, 1000)


def test_however_far_it_goes_and_whatever_is_said_there_is_a_bound() -> None:
    """Said is the next step that is kept, up to the highest there may be."""
    sample, step = Kept(), 0
    while step <= 2**53:
        sample.say(step)
        step += max(1, step // (DENSE // 2))
    assert step // 2 < max(sample.steps)
    assert len(sample.steps) < 70_000


def test_who_counts_down_has_no_more() -> None:
    sample = Kept()
    for step in range(10**9, 10**9 - 20_000, -1):
        sample.say(step)
    assert len(sample.steps) == DENSE


def test_an_evaluation_that_begins_anew_replaces_what_was_said() -> None:
    sample = Kept()
    steps = range(20_000)
    sample.say(*steps)
    before = set(sample.steps)
    again = sample.say(*steps)
    assert sample.steps == before
    assert set(again) >= {step for step in before if step >= DENSE}
