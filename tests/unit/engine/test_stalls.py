"""A recall has stalled when it takes longer than its tape makes likely; what is done about it is bounded."""

from collections import Counter

from idds.engine.stalls import Patience, Recall, Remedy, Verdict, judge
from idds.engine.times import Times, class_of

SECOND = 1_000_000
MINUTE = 60 * SECOND
PATIENCE = Patience(floor=10 * SECOND, unknown=60 * MINUTE, least=10, boosts=1, orders=2)
USUAL = Times(Counter({class_of(MINUTE): 100}))


def recall(times: int = 0, *others: str, moves: bool = True, ordered_at: int = 0) -> Recall:
    return Recall(ordered_at, times, "TAPE", others, moves)


def remedy(verdict: Verdict | None) -> Remedy | None:
    return verdict.remedy if verdict else None


def test_what_is_too_long_is_taken_from_the_tape_itself() -> None:
    assert abs(PATIENCE.of(USUAL) - 3 * MINUTE) < 0.1 * 3 * MINUTE
    slow = Times(Counter({class_of(MINUTE): 80, class_of(60 * MINUTE): 20}))
    assert PATIENCE.of(slow) > 150 * MINUTE


def test_little_that_came_says_little() -> None:
    assert PATIENCE.of(Times(Counter({class_of(SECOND): 9}))) == 60 * MINUTE
    assert PATIENCE.of(Times({})) == 60 * MINUTE


def test_a_fast_tape_is_not_less_than_the_floor() -> None:
    assert PATIENCE.of(Times(Counter({class_of(SECOND // 10): 50}))) == 10 * SECOND


def test_it_is_boosted_then_recalled_from_elsewhere_then_given_up() -> None:
    steps = [remedy(judge(recall(times, "OTHER"), USUAL, PATIENCE, MINUTE)) for times in range(5)]
    assert steps == [Remedy.BOOST, Remedy.ELSEWHERE, Remedy.ELSEWHERE, Remedy.GIVE_UP, Remedy.GIVE_UP]
    verdict = judge(recall(1, "OTHER", "THIRD"), USUAL, PATIENCE, MINUTE)
    assert verdict is not None
    assert verdict.source == "OTHER"
    assert "OTHER" in verdict.reason


def test_one_that_is_nowhere_else_is_boosted_instead() -> None:
    steps = [remedy(judge(recall(times), USUAL, PATIENCE, MINUTE)) for times in range(4)]
    assert steps == [Remedy.BOOST, Remedy.BOOST, Remedy.BOOST, Remedy.GIVE_UP]


def test_while_its_tape_stands_still_a_file_is_not_blamed() -> None:
    for times in range(10):
        assert judge(recall(times, moves=False), USUAL, PATIENCE, MINUTE) is None
    elsewhere = judge(recall(0, "OTHER", moves=False), USUAL, PATIENCE, MINUTE)
    assert elsewhere is not None
    assert (elsewhere.remedy, elsewhere.source) == (Remedy.ELSEWHERE, "OTHER")


def test_not_for_ever_though() -> None:
    for moves in (True, False):
        verdict = judge(recall(0, "OTHER", moves=moves), USUAL, PATIENCE, PATIENCE.longest)
        assert remedy(verdict) is Remedy.GIVE_UP
