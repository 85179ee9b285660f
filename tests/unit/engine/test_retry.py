from hypothesis import given
from hypothesis import strategies as st

from idds.engine.retry import FIRST_DELAY, LONGEST_DELAY, backoff


def test_the_pause_doubles_up_to_the_longest() -> None:
    assert [backoff(tries) for tries in (1, 2, 3, 4)] == [FIRST_DELAY * n for n in (1, 2, 4, 8)]
    assert backoff(11) == LONGEST_DELAY
    assert backoff(2, first=10, longest=15) == 15


@given(st.integers(-5, 10**9))
def test_it_never_shrinks_and_stays_between_first_and_longest(tries: int) -> None:
    assert FIRST_DELAY <= backoff(tries) <= backoff(tries + 1) <= LONGEST_DELAY
