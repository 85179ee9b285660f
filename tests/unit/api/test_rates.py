"""How often a principal may call."""

import pytest

from idds.api.problems import TooMany
from idds.api.rates import Rates
from idds.domain.access import Grant
from idds.domain.identifiers import CollectionId, TokenId
from idds.domain.request import Principal
from idds.runtime.settings import ApiSettings

ALICE = Grant(Principal("alice", "vo"), token_id=TokenId(1))
BOB = Grant(Principal("bob", "vo"))


class Parts:
    def __init__(self, rate_per_s: float = 2, burst: int = 3, size: int = 100) -> None:
        self.now = 1000.0
        settings = ApiSettings(rate_per_s=rate_per_s, burst=burst, rate_memory_size=size)
        self.rates = Rates(settings, lambda: self.now)

    def taken(self, grant: Grant, tries: int = 20) -> int:
        """How many of these calls are let through, made at once."""
        return sum(self._take(grant) for _ in range(tries))

    def _take(self, grant: Grant) -> bool:
        try:
            self.rates.take(grant)
        except TooMany:
            return False
        return True


@pytest.mark.parametrize("rate_per_s", [0.3, 7, 10, 1000])
def test_a_burst_is_whole_at_every_rate(rate_per_s: float) -> None:
    assert Parts(rate_per_s, burst=13).taken(ALICE) == 13


def test_a_burst_then_the_rate() -> None:
    parts = Parts()
    assert parts.taken(ALICE) == 3
    parts.now += 0.5
    assert parts.taken(ALICE) == 1
    parts.now += 1.0
    assert parts.taken(ALICE) == 2
    parts.now += 1000
    assert parts.taken(ALICE) == 3


def test_who_is_refused_is_told_when_to_come_again() -> None:
    parts = Parts(rate_per_s=0.1, burst=1)
    parts.rates.take(ALICE)
    for waited, left in ((0, 10), (4, 6), (5.5, 1)):
        parts.now += waited
        with pytest.raises(TooMany) as refused:
            parts.rates.take(ALICE)
        assert refused.value.retry_after_s == left
    parts.now += refused.value.retry_after_s
    parts.rates.take(ALICE)


def test_one_who_is_in_a_hurry_does_not_slow_the_others() -> None:
    parts = Parts()
    assert parts.taken(ALICE, 1000) == 3
    assert parts.taken(BOB) == 3
    assert parts.taken(Grant(Principal("alice", "other"))) == 3


def test_all_tokens_of_an_owner_count_together_but_for_payloads() -> None:
    parts = Parts()
    assert parts.taken(ALICE) == 3
    assert parts.taken(Grant(ALICE.principal, token_id=TokenId(2))) == 0
    for collection in (5, 6):
        assert parts.taken(Grant(ALICE.principal, CollectionId(collection), token_id=TokenId(3))) == 3
        assert parts.taken(Grant(ALICE.principal, CollectionId(collection), token_id=TokenId(4))) == 0


def test_without_a_rate_nobody_is_held_up() -> None:
    assert Parts(rate_per_s=0).taken(ALICE, 10_000) == 10_000


def test_the_memory_is_bounded_and_full_buckets_are_forgotten() -> None:
    parts = Parts(size=10)
    for number in range(100):
        parts.rates.take(Grant(Principal(str(number), "vo")))
    assert len(parts.rates._full_at) == 10
    parts.now += 10
    parts.rates.take(ALICE)
    assert len(parts.rates._full_at) == 1
