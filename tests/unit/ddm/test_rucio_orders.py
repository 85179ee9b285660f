"""Orders to Rucio of many files, some of which hinder the call that they are in."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from rucio.common.exception import AccessDenied, DuplicateRule, InsufficientAccountLimit, RSEWriteBlocked

from idds.ddm.rucio.clients import Clients
from idds.ddm.rucio.options import RucioOptions
from idds.ddm.rucio.replicas import Replicas
from idds.ddm.rucio.rules import Rules
from idds.ddm.rucio.staging import ADDED_AT_ONCE, ENDING, Outcomes, Stager
from idds.domain.identifiers import Did
from idds.ports.ddm import NotNow, Refused, Staging

DIDS = [Did("s", f"f{number:04}") for number in range(ADDED_AT_ONCE + 1)]
OURS = "ours"


def rule(did: Did, comment: str, *, state: str = "REPLICATING", left_s: float = 600, source: str | None = None) -> Any:
    return {
        "id": f"{comment} {did.name}",
        "scope": did.scope,
        "name": did.name,
        "account": "idds",
        "comments": comment,
        "rse_expression": "DISK",
        "state": state,
        "error": "no link" if state == "STUCK" else None,
        "source_replica_expression": source,
        "expires_at": (datetime.now(UTC) + timedelta(seconds=left_s)).replace(tzinfo=None),
    }


class Rucio:
    """What the stager asks of Rucio's client. It has room for `quota` files; after `takes` calls it denies all."""

    def __init__(self) -> None:
        self.rules: list[dict[str, Any]] = []
        self.quota = 10**6
        self.takes = 10**6
        self.calls = 0

    def get_metadata_bulk(self, names: list[dict[str, str]]) -> list[dict[str, str]]:
        return names

    def list_replicas(self, _names: list[dict[str, str]], **_filters: Any) -> list[dict[str, Any]]:
        return []

    def list_replication_rules(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        return [rule for rule in self.rules if all(rule[key] == value for key, value in filters.items())]

    def update_replication_rule(self, rule_id: str, values: dict[str, Any]) -> None:
        (found,) = (rule for rule in self.rules if rule["id"] == rule_id)
        found["expires_at"] = (datetime.now(UTC) + timedelta(seconds=values["lifetime"])).replace(tzinfo=None)

    def add_replication_rule(self, names: list[dict[str, str]], **terms: Any) -> list[str]:
        self.calls += 1
        if self.calls > self.takes:
            raise AccessDenied("not you")
        if {rule["name"] for rule in self.rules} & {name["name"] for name in names}:
            raise DuplicateRule("one of them")
        if len(self.rules) + len(names) > self.quota:
            raise InsufficientAccountLimit("no room")
        made = [rule(Did(**name), terms["comment"], source=terms["source_replica_expression"]) for name in names]
        self.rules += made
        return [one["id"] for one in made]


class InLine:
    """Calls one after the other, as `Clients` makes them in threads."""

    def __init__(self, rucio: Rucio) -> None:
        self._rucio = rucio

    async def run(self, work: Callable[[Any], Any]) -> Any:
        return work(self._rucio)

    async def run_each(self, work: Callable[[Any, Any], Any], things: Iterable[Any]) -> list[Any]:
        return [work(self._rucio, thing) for thing in things]


@pytest.fixture
def rucio() -> Rucio:
    return Rucio()


async def stage(rucio: Rucio, dids: list[Did], source: str | None = None) -> Outcomes:
    clients = cast("Clients", InLine(rucio))
    terms = {"instance": OURS, "username": "idds", "password_file": "secret"}
    options = RucioOptions.parse({"url": "http://rucio", "account": "idds", **terms})
    return await Stager(clients, Rules(clients, options), Replicas(clients)).stage("DISK", dids, source)


def ours(did: Did) -> Staging:
    return Staging(f"{OURS} {did.name}", ours=True)


async def test_what_was_taken_is_not_refused_with_the_rest(rucio: Rucio) -> None:
    rucio.takes = 1
    outcomes = await stage(rucio, DIDS)
    assert [outcomes[did] for did in DIDS[:-1]] == [ours(did) for did in DIDS[:-1]]
    assert isinstance(outcomes[DIDS[-1]], Refused)


@pytest.mark.parametrize("quota", [0, 1, 37, 199, 200])
async def test_what_there_is_room_for_is_taken_and_the_rest_waits_with_the_reason(rucio: Rucio, quota: int) -> None:
    rucio.quota = quota
    outcomes = await stage(rucio, DIDS[:200])
    assert [did for did in DIDS if isinstance(outcomes.get(did), Staging)] == DIDS[:quota]
    reasons = {outcome.reason for outcome in outcomes.values() if isinstance(outcome, NotNow)}
    assert len(reasons) == (quota < 200)
    assert all("quota" in reason for reason in reasons)
    assert rucio.calls <= 2 * 8 + 1


async def test_a_rule_of_others_on_our_account_is_used_and_hinders_no_other(rucio: Rucio) -> None:
    rucio.rules = [rule(DIDS[5], "theirs"), rule(DIDS[9], "theirs", state="STUCK"), rule(DIDS[12], "theirs", left_s=-1)]
    outcomes = await stage(rucio, DIDS[:20])
    assert outcomes[DIDS[5]] == Staging(f"theirs {DIDS[5].name}", ours=False)
    assert isinstance(stuck := outcomes[DIDS[9]], NotNow)
    assert "no link" in stuck.reason
    assert outcomes[DIDS[12]] == NotNow(ENDING)
    rest = [did for number, did in enumerate(DIDS[:20]) if number not in (5, 9, 12)]
    assert [outcomes[did] for did in rest] == [ours(did) for did in rest]


async def test_a_rule_that_is_stuck_is_ended_and_made_anew_when_it_is_gone(rucio: Rucio) -> None:
    rucio.rules = [rule(DIDS[0], OURS, state="STUCK"), rule(DIDS[1], OURS), rule(DIDS[2], OURS, left_s=-1)]
    outcomes = await stage(rucio, DIDS[:3])
    assert list(map(outcomes.get, DIDS[:3])) == [NotNow(ENDING), ours(DIDS[1]), NotNow(ENDING)]
    assert await stage(rucio, DIDS[:3]) == outcomes
    rucio.rules = rucio.rules[1:2]
    assert await stage(rucio, DIDS[:3]) == {did: ours(did) for did in DIDS[:3]}


async def test_a_rule_that_takes_it_from_elsewhere_gives_way(rucio: Rucio) -> None:
    rucio.rules = [rule(DIDS[0], OURS), rule(DIDS[1], OURS, state="OK"), rule(DIDS[2], OURS, source="TAPE")]
    outcomes = await stage(rucio, DIDS[:3], "TAPE")
    assert list(map(outcomes.get, DIDS[:3])) == [NotNow(ENDING), ours(DIDS[1]), ours(DIDS[2])]
    rucio.rules = rucio.rules[1:]
    await stage(rucio, DIDS[:1], "TAPE")
    assert rucio.rules[-1]["source_replica_expression"] == "TAPE"


async def test_an_rse_that_takes_nothing_is_asked_once(rucio: Rucio, monkeypatch: pytest.MonkeyPatch) -> None:
    def block(_names: object, **_terms: object) -> list[str]:
        rucio.calls += 1
        raise RSEWriteBlocked("for now")

    monkeypatch.setattr(rucio, "add_replication_rule", block)
    outcomes = await stage(rucio, DIDS[:200])
    assert rucio.calls == 1
    assert all(isinstance(outcome, NotNow) for outcome in outcomes.values())
