"""Commands of who runs the service: its agents, and who changed what."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import duration, instant, plain, write, write_json, write_table
from idds.cli.session import AsJson, EventNumber, converse

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import AgentView, AuditEntry

MICROSECONDS = 1_000_000


def agents(
    context: typer.Context,
    duties: Annotated[bool, typer.Option("--duties", help="And what each does again and again.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the processes that run agents, and how they fare."""
    found = converse(context, lambda client: client.agents())
    if as_json:
        for agent in found:
            write_json(agent)
        return
    now = int(datetime.now(UTC).timestamp() * MICROSECONDS)
    if duties:
        titles: tuple[str, ...] = ("agent", "duty", "steps", "failures", "last step", "last error")
        write_table(titles, [row for agent in found for row in _duties(agent, now)])
        return
    rows = [
        (
            agent.owner,
            ", ".join(agent.names),
            agent.version,
            f"{duration(now - agent.started_at)} ago",
            f"{duration(now - agent.seen_at)} ago",
            sum(duty.failures for duty in agent.duties),
        )
        for agent in found
    ]
    write_table(("process", "runs", "version", "started", "seen", "failures"), rows)


def _duties(agent: "AgentView", now: int) -> list[tuple[object, ...]]:
    return [
        (
            agent.owner,
            duty.name,
            duty.steps,
            duty.failures,
            "never" if duty.stepped_at is None else f"{duration(now - duty.stepped_at)} ago",
            duty.last_error,
        )
        for duty in agent.duties
    ]


def audit(
    context: typer.Context,
    entity: Annotated[str | None, typer.Option(help="Only of this, as in request:7.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only by this one.")] = None,
    after: EventNumber = None,
    as_json: AsJson = False,
) -> None:
    """Tell who changed what, oldest first; for operators."""

    async def talk(client: "Client") -> None:
        async for entry in client.audit(entity=entity, owner=owner, after=after):
            if as_json:
                write_json(entry)
            else:
                write(_entry(entry))

    converse(context, talk)


def _entry(entry: "AuditEntry") -> str:
    who = f"{entry.owner}@{entry.vo} ({entry.role})"
    details = ", ".join(f"{name}={value}" for name, value in (entry.details or {}).items())
    return plain(f"{instant(entry.at)}  {who:<28}  {entry.action:<16}  {entry.entity:<16}  {details}".rstrip())
