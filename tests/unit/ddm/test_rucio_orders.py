"""Orders to Rucio that go in several calls, of which some are taken."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from rucio.common.exception import AccessDenied

from idds.ddm.rucio.clients import Clients
from idds.ddm.rucio.options import RucioOptions
from idds.ddm.rucio.replicas import Replicas
from idds.ddm.rucio.rules import AT_ONCE, Rules
from idds.ddm.rucio.staging import Stager
from idds.domain.identifiers import Did
from idds.ports.ddm import Refused, Staging

DIDS = [Did("s", f"f{number}") for number in range(AT_ONCE + 1)]


class Rucio:
    """What the stager asks of Rucio's client; it takes the first order for rules and denies all others."""

    def __init__(self) -> None:
        self.rules: list[dict[str, Any]] = []

    def get_metadata_bulk(self, names: list[dict[str, str]]) -> list[dict[str, str]]:
        return names

    def list_replicas(self, _names: list[dict[str, str]], **_filters: Any) -> list[dict[str, Any]]:
        return []

    def list_replication_rules(self, _filters: dict[str, Any]) -> list[dict[str, Any]]:
        return self.rules

    def add_replication_rule(self, names: list[dict[str, str]], **terms: Any) -> list[str]:
        if self.rules:
            raise AccessDenied("not you")
        expires_at = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=terms["lifetime"])
        of_all = {"state": "REPLICATING", "error": None, "comments": terms["comment"], "expires_at": expires_at}
        self.rules = [{**name, **of_all, "id": name["name"]} for name in names]
        return [rule["id"] for rule in self.rules]


class InLine:
    """Calls one after the other, as `Clients` makes them in threads."""

    def __init__(self, rucio: Rucio) -> None:
        self._rucio = rucio

    async def run(self, work: Callable[[Any], Any]) -> Any:
        return work(self._rucio)

    async def run_each(self, work: Callable[[Any, Any], Any], things: Iterable[Any]) -> list[Any]:
        return [work(self._rucio, thing) for thing in things]


async def test_what_was_taken_is_not_refused_with_the_rest() -> None:
    clients = cast("Clients", InLine(Rucio()))
    secret = {"username": "idds", "password_file": "secret"}
    options = RucioOptions.parse({"url": "http://rucio", "account": "idds", **secret})
    outcomes = await Stager(clients, Rules(clients, options), Replicas(clients)).stage("DISK", DIDS)
    assert [outcomes[did] for did in DIDS[:-1]] == [Staging(did.name, ours=True) for did in DIDS[:-1]]
    assert isinstance(outcomes[DIDS[-1]], Refused)
