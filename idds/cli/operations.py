"""Commands of who runs the service: its agents, and who changed what."""

from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import ago, instant, plain, write, write_json, write_table
from idds.cli.session import AsJson, EventNumber, converse
from idds.domain.agent import AgentProcess

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import AuditEntry


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
    if duties:
        titles: tuple[str, ...] = ("process", "agent", "duty", "steps", "failures", "last step", "last error")
        write_table(titles, [row for agent in found for row in _duties(agent)])
        return
    rows = [
        (
            agent.owner,
            ", ".join(agent.names),
            agent.version,
            ago(agent.started_at),
            ago(agent.seen_at),
            sum(duty.failures for duty in agent.duties),
        )
        for agent in found
    ]
    write_table(("process", "runs", "version", "started", "seen", "failures"), rows)


def _duties(agent: AgentProcess) -> list[tuple[object, ...]]:
    return [
        (
            agent.owner,
            duty.agent,
            duty.name,
            duty.steps,
            duty.failures,
            ago(duty.stepped_at) or "never",
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
