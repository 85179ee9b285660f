"""Commands about the carousel: how it runs, when files will have come, and the orders of operators."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.exits import leave
from idds.cli.output import ago, duration, plain, size, write, write_json, write_table
from idds.cli.session import AsJson, RequestNumber, converse
from idds.domain.errors import InvalidInput, Problem
from idds.domain.hold import HoldKind

if TYPE_CHECKING:
    from idds.domain.carousel import Carousel, Eta, InputForecast, Touched
    from idds.sdk.client import Client

app = typer.Typer(help="Watch the data carousel, and give it orders.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what the order would touch.")]
Kind = Annotated[HoldKind, typer.Argument(help="A tape (RSE or system), or a disk RSE.")]
Ref = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
Rse = Annotated[str | None, typer.Option("--rse", help="The window of this disk RSE.")]
Input = Annotated[int | None, typer.Option("--collection", min=1, help="The window of this input.")]
Bytes = Annotated[int | None, typer.Option("--bytes", min=1, help="Bytes at once; left out, any number.")]
Files = Annotated[int | None, typer.Option("--files", min=1, help="Files at once; left out, any number.")]


@app.command("show")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every tape and disk: what comes, how fast, what waits, what is held."""
    found = converse(context, lambda client: client.carousel())
    if as_json:
        write_json(found)
        return
    _write_tapes(found)
    write()
    _write_disks(found)


def _write_tapes(found: "Carousel") -> None:
    titles = ("tape", "to", "rate", "1 h", "p50", "p90", "p99", "in flight", "oldest", "waiting", "held")
    rows = [
        (
            tape.tape or "(unknown)",
            tape.rse,
            f"{size(round(tape.bytes_per_s))}/s",
            f"{size(round(tape.bytes_per_s_1h))}/s",
            _span(tape.times.p50),
            _span(tape.times.p90),
            _span(tape.times.p99),
            tape.in_flight_files,
            ago(tape.oldest_at),
            tape.waiting,
            tape.held,
        )
        for tape in found.tapes
    ]
    write_table(titles, rows)


def _write_disks(found: "Carousel") -> None:
    rows = []
    for disk in found.disks:
        window = disk.window
        limit = "" if window is None or window.limit_bytes is None else size(window.limit_bytes)
        files = None if window is None else window.limit_files
        reserved = "" if window is None else size(window.reserved_bytes)
        here = ", ".join(f"{number} {status}" for status, (number, _) in sorted(disk.replicas.items()))
        rows.append((disk.rse, limit, reserved, files, None if window is None else window.set_by, here, disk.held))
    write_table(("disk", "window", "reserved", "files", "set by", "replicas", "held"), rows)


@app.command("forecast")
def forecast(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Tell when each input of a request will have come."""
    found = converse(context, lambda client: client.forecast(request))
    if as_json:
        write_json(found)
        return
    write_table(("input", "files", "left", "waiting", "first after", "ends in", "because"), map(_input, found.inputs))


def _input(found: "InputForecast") -> tuple[object, ...]:
    name = found.did or f"collection {found.collection}"
    return name, found.total, found.left, found.waiting, _span(found.first_after), _ends(found.eta), found.says


def _ends(eta: "Eta | None") -> str:
    return "unknown" if eta is None else f"{_span(eta.expected)} ({_span(eta.low)} to {_span(eta.high)})"


def _span(microseconds: int | None) -> str:
    return "" if microseconds is None else duration(microseconds)


@app.command("holds")
def holds(context: typer.Context, as_json: AsJson = False) -> None:
    """List the tapes and disks that are held."""
    found = converse(context, lambda client: client.holds())
    if as_json:
        for hold in found:
            write_json(hold)
        return
    rows = [(hold.kind, hold.ref, hold.owner, ago(hold.at), hold.reason) for hold in found]
    write_table(("kind", "name", "by", "since", "reason"), rows)


@app.command("hold")
def hold(
    context: typer.Context,
    kind: Kind,
    ref: Ref,
    reason: Annotated[str, typer.Option(help="Why; everybody is told, as all may wait for it.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Recall nothing more from a tape, or bring nothing more to a disk."""
    _order(context, lambda client: client.hold(kind, ref, reason, dry_run=dry_run), as_json)


@app.command("resume")
def resume(context: typer.Context, kind: Kind, ref: Ref, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Use a tape or a disk again that is held."""
    _order(context, lambda client: client.resume_storage(kind, ref, dry_run=dry_run), as_json)


@app.command("window")
def window(
    context: typer.Context,
    rse: Rse = None,
    collection: Input = None,
    bytes_: Bytes = None,
    files: Files = None,
    reset: Annotated[bool, typer.Option("--reset", help="Those of the settings, or of the workflow, again.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give a window other limits while it is in use."""
    if not reset and bytes_ is None and files is None:
        raise leave(InvalidInput([Problem("--bytes", "give --bytes, --files or both, or --reset")]))

    async def talk(client: "Client") -> "Touched":
        return await client.change_window(
            rse=rse, collection=collection, bytes=bytes_, files=files, reset=reset, dry_run=dry_run
        )

    _order(context, talk, as_json)


@app.command("retire-unused")
def retire_unused(
    context: typer.Context,
    rse: Annotated[str, typer.Argument(metavar="RSE", help="A disk RSE.")],
    idle_s: Annotated[float, typer.Option("--idle", min=0, help="Seconds for which nobody used it.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete what was staged to a disk and nobody used for some time."""
    _order(context, lambda client: client.retire_unused(rse, idle_s, dry_run=dry_run), as_json)


@app.command("source")
def source(
    context: typer.Context,
    request: RequestNumber,
    tape: Annotated[str, typer.Argument(metavar="TAPE", help="The tape RSE to recall from.")],
    under_way: Annotated[bool, typer.Option("--under-way", help="What is being recalled, too.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Recall the files of a request from another tape."""
    _order(context, lambda client: client.change_source(request, tape, under_way=under_way, dry_run=dry_run), as_json)


@app.command("destination")
def destination(
    context: typer.Context,
    request: RequestNumber,
    rse: Annotated[str, typer.Argument(metavar="RSE", help="The disk RSE to bring files to.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring those files of a request to another disk that are not admitted yet."""
    _order(context, lambda client: client.change_destination(request, rse, dry_run=dry_run), as_json)


@app.command("force")
def force(context: typer.Context, request: RequestNumber, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Admit what waits of a request next, before all others."""
    _order(context, lambda client: client.force_staging(request, dry_run=dry_run), as_json)


@app.command("release")
def release(context: typer.Context, request: RequestNumber, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Give up now what of a request is on disk and nobody has taken."""
    _order(context, lambda client: client.release(request, dry_run=dry_run), as_json)


def _order(context: typer.Context, talk: Callable[["Client"], Awaitable["Touched"]], as_json: bool) -> None:
    touched = converse(context, talk)
    if as_json:
        write_json(touched)
        return
    does = "would touch" if touched.dry_run else "touches"
    requests = ", ".join(map(str, touched.requests[:10])) + (", ..." if len(touched.requests) > 10 else "")
    of = f" of requests {requests}" if touched.requests else ""
    amount = f" ({size(touched.bytes)})" if touched.bytes else ""
    more = ", and there are more: order it again" if touched.more else ""
    write(plain(f"{touched.verb} of {touched.entity} {does} {touched.files} files{amount}{of}{more}"))
    for said in touched.says:
        write(plain(f"- {said}"))
