"""The processes that run agents: each writes its row every some seconds, and removes it when it stops."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, select, text
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.agent import AgentProcess, DutyReport
from idds.store.noun import Noun
from idds.store.schema import agents

LONGEST_NAME = 63
"""Of what a connection is called PostgreSQL keeps so many bytes."""
_CONNECTED = text("SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()")


def known_as(owner: str) -> str:
    """What the connections of a process are called: of a long name the end, in which they differ."""
    return owner.encode()[-LONGEST_NAME:].decode(errors="ignore")


class Agents(Noun):
    async def write(self, process: AgentProcess) -> None:
        """Tell of a process, as of now; when it started stays as it was told first."""
        values = asdict(process) | {"started_at": self._tx.now, "seen_at": self._tx.now}
        new = (sqlite.insert(agents) if self._is_sqlite else postgresql.insert(agents)).values(values)
        again = {name: values[name] for name in ("duties", "seen_at")}
        await self._execute(new.on_conflict_do_update(index_elements=[agents.c.owner], set_=again))

    async def remove(self, owner: str | None) -> None:
        """That a process has stopped; all of them for None."""
        await self._execute(delete(agents) if owner is None else delete(agents).where(agents.c.owner == owner))

    async def forget(self, before: int) -> None:
        """Remove those that were last seen before this time."""
        await self._execute(delete(agents).where(agents.c.seen_at < before))

    async def all(self) -> Sequence[AgentProcess]:
        rows = await self._execute(select(agents).order_by(agents.c.started_at, agents.c.owner))
        return [
            AgentProcess(**{**row._asdict(), "duties": [DutyReport(**duty) for duty in row.duties]}) for row in rows
        ]

    async def vanished(self, witness: str) -> set[str]:
        """The processes that have told of themselves and have no connection to the database any more.

        Nobody, where the connections of the `witness`, which asks, are not seen either; nor on SQLite, where nobody
        else can be. PostgreSQL notices at once that a process has died, and late that a machine has.
        """
        if self._is_sqlite:
            return set()
        connected = {row.application_name for row in await self._execute(_CONNECTED)}
        if known_as(witness) not in connected:
            return set()
        told = {row.owner for row in await self._execute(select(agents.c.owner))}
        return {owner for owner in told if known_as(owner) not in connected}
