"""Where files stand on an RSE: what Rucio says of their replicas, put together with the rules on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from idds.ddm.rucio.clients import Clients, chunks
from idds.ddm.rucio.rules import Rule
from idds.domain.identifiers import Did
from idds.ports.ddm import Residency, Source, Where

if TYPE_CHECKING:
    from rucio.client import Client

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Replica:
    """What Rucio says of a file on one RSE: its state (AVAILABLE, COPYING, BEING_DELETED, ...) and how to open it."""

    state: str
    path: str | None


class Replicas:
    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def find(self, rse: str, dids: Sequence[Did]) -> dict[Did, Replica]:
        """Those of these files that have a replica there, in whatever state."""

        def ask(client: "Client", some: Sequence[Did]) -> list[dict[str, Any]]:
            names = [{"scope": did.scope, "name": did.name} for did in some]
            return list(client.list_replicas(names, rse_expression=rse, all_states=True, resolve_archives=False))

        found: dict[Did, Replica] = {}
        for rows in await self._clients.run_each(ask, chunks(dids, AT_ONCE)):
            for row in rows:
                if state := row.get("states", {}).get(rse):
                    urls = row["rses"].get(rse) or []
                    found[Did(row["scope"], row["name"])] = Replica(state, _path(urls[0]) if urls else None)
        return found

    async def sources(self, dids: Sequence[Did]) -> dict[Did, tuple[Source, ...]]:
        """Where complete replicas of each of these files are, those on tape first."""

        def ask(client: "Client", some: Sequence[Did]) -> list[dict[str, Any]]:
            names = [{"scope": did.scope, "name": did.name} for did in some]
            return list(client.list_replicas(names, all_states=True, resolve_archives=False))

        found: dict[Did, tuple[Source, ...]] = dict.fromkeys(dids, ())
        tapes = await self._clients.run(lambda client: {row["rse"] for row in client.list_rses("rse_type=TAPE")})
        for rows in await self._clients.run_each(ask, chunks(dids, AT_ONCE)):
            for row in rows:
                complete = [rse for rse, state in row.get("states", {}).items() if state == "AVAILABLE"]
                sources = [Source(rse, is_tape=rse in tapes) for rse in sorted(complete)]
                found[Did(row["scope"], row["name"])] = tuple(sorted(sources, key=lambda source: not source.is_tape))
        return found


def _path(url: str) -> str:
    """A file on a disk that this machine sees is opened by its path; all others by their URL."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "file" else url


def residency(rule: Rule | None, replica: Replica | None, kept_by: Mapping[Did, str], did: Did) -> Residency:
    """Where a file stands, from our rule on it, its replica, and whose else's rule keeps that.

    A replica counts only where the rule is satisfied, or where there is none: it need not be asked for otherwise.
    """
    if rule is not None and not rule.is_dying:
        of_ours = {"rule_id": rule.rule_id, "source": rule.source}
        if replica is not None and replica.state == "AVAILABLE" and rule.state == "OK":
            return Residency(Where.PRESENT, replica.path, **of_ours)
        if rule.is_stuck:
            return Residency(Where.FAILED, reason=rule.reason, **of_ours)
        return Residency(Where.STAGING, reason=rule.error, **of_ours)
    if rule is not None:
        return Residency(Where.DELETING)
    if replica is None:
        return Residency(Where.ABSENT)
    if did not in kept_by or replica.state == "BEING_DELETED":
        return Residency(Where.DELETING)
    if replica.state == "AVAILABLE":
        return Residency(Where.PRESENT, replica.path)
    return Residency(Where.STAGING)
