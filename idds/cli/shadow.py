"""Looking on at a staging on a real Rucio, as a command: what would a window have done?"""

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import duration, plain, size, write, write_json
from idds.cli.session import AsJson
from idds.cli.settings import SettingsFile, told
from idds.domain.errors import InvalidInput, Problem, Unavailable
from idds.domain.identifiers import Did
from idds.runtime.settings import read_settings
from idds.simulation.replay import Assumed, Verdict, judge
from idds.simulation.trace import Trace, read_trace

if TYPE_CHECKING:
    from idds.ddm.rucio.looking import Onlooker


def shadow(
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE:NAME", help="Whose staging is watched; may be said again.")
    ] = None,
    rse: Annotated[str | None, typer.Option(help="The disk that it is staged to.")] = None,
    settings_file: SettingsFile = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="File to keep in what is seen: it is gone on with, and judged alone without --dataset."),
    ] = None,
    every_s: Annotated[float, typer.Option(min=0.1, max=86400, help="Seconds from look to look.")] = 30.0,
    for_s: Annotated[float | None, typer.Option(min=0, help="Look no longer than this.")] = None,
    process_s: Annotated[float, typer.Option(min=0, help="Assumed: seconds from landing until processed.")] = 600.0,
    recall_s: Annotated[float, typer.Option(min=0, help="Assumed: what a recall from idle tapes takes more.")] = 300.0,
    deletion_s: Annotated[float, typer.Option(min=0, help="Assumed: seconds until what was released is gone.")] = 60.0,
    batch: Annotated[int, typer.Option(min=1, help="Assumed: files that are processed together.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Watch how datasets are staged, and say how small a window would have been enough.

    Nothing is changed on Rucio: its replicas are looked at until all files were on the disk, or Ctrl-C. Then what was
    seen is run again on paper, with the planner of this service. Files are assumed to be processed one after the other
    as they land, and deleted at once; what is assumed can be said by options.
    """
    with told():
        seen = _read(trace)
        if dataset:
            if rse is None:
                raise InvalidInput([Problem("--rse", "say to which disk the datasets are staged")])
            watch = Watch([_did(text) for text in dataset], rse, every_s, for_s)
            asyncio.run(_watch(watch, settings_file, seen, trace))
        elif trace is None:
            raise InvalidInput([Problem("--dataset", "say whose staging is watched, or which --trace is judged")])
        assumed = Assumed(process_s=process_s, recall_s=recall_s, deletion_s=deletion_s, batch=batch)
        _tell(judge(seen, assumed), as_json=as_json)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is looked at, and how often; times in seconds, `for_s` None without an end."""

    datasets: list[Did]
    rse: str
    every_s: float
    for_s: float | None


def _did(text: str) -> Did:
    try:
        return Did.parse(text)
    except ValueError as error:
        raise InvalidInput([Problem("--dataset", str(error))]) from None


def _read(path: Path | None) -> Trace:
    if path is None or not path.exists():
        return Trace()
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")  # a line that was cut off must not become part of the next
    return read_trace(whole.splitlines(keepends=True))


async def _watch(watch: Watch, settings_file: Path | None, seen: Trace, kept: Path | None) -> None:
    """Until all files were on the disk, the time is over, or the user has enough."""
    from idds.ddm.rucio.looking import Onlooker
    from idds.ddm.rucio.options import RucioOptions

    settings = read_settings(settings_file)
    if settings.ddm.plugin != "rucio":
        raise InvalidInput([Problem("/ddm/plugin", "a shadow needs settings of a Rucio")])
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with Onlooker(RucioOptions.parse(settings.ddm.options)) as onlooker:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(watch.for_s):
                await _look(onlooker, watch, seen, kept, told)


async def _look(onlooker: "Onlooker", watch: Watch, seen: Trace, kept: Path | None, told: asyncio.Event) -> None:
    files = 0
    while not told.is_set():
        try:
            if seen.seen >= files:  # it may have grown
                files = sum([await onlooker.files(dataset) for dataset in watch.datasets])
            present: dict[Did, int] = {}
            for dataset in watch.datasets:
                present |= await onlooker.on_disk(watch.rse, dataset)
        except Unavailable as error:
            typer.echo(f"idds: {plain(str(error))}; looking again", err=True)
        else:
            _note(seen, present, kept, files)
            if seen.seen >= files:
                return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(watch.every_s):
                await told.wait()


def _note(seen: Trace, present: dict[Did, int], kept: Path | None, files: int) -> None:
    look = seen.look(time.time_ns() // 1000, present)
    is_first = seen.began_at is None
    seen.add(look)
    if is_first or look.is_news:
        typer.echo(f"{seen.seen} of {files} files came, {size(sum(present.values()))} are on disk", err=True)
        if kept is not None:
            with kept.open("a", encoding="utf-8") as lines:
                lines.write(look.line())


def _tell(verdict: Verdict, *, as_json: bool) -> None:
    if as_json:
        write_json(verdict)
        return
    if verdict.before:
        write(f"{verdict.before} files were on the disk before; when they came nobody knows, and they are left out.")
    write(f"{verdict.files} files with {size(verdict.bytes)} were seen to come in {_span(verdict.seen_s)}.")
    write(
        f"{size(verdict.enough_bytes)} would have been enough; {size(verdict.used_bytes)} were used."
        f" Until all is processed that takes {_span(verdict.enough_s)}; {_span(verdict.endless_s)} with room for all."
    )


def _span(seconds: float) -> str:
    return duration(round(seconds * 1e6))
