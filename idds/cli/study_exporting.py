"""The command `study export`: what a study found, as a table or as a study of Optuna's."""

import csv
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from idds.cli.exits import Exit, leave
from idds.cli.output import write
from idds.cli.session import StudyNumber, converse
from idds.domain.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from idds.domain.study import Sample, Study
    from idds.sdk.client import Client
    from idds.search.optuna_exchange import Ended

PATIENCE_S = 60.0
AT_ONCE = 500
"""So many trials are given to Optuna together."""


def export(
    context: typer.Context,
    study: StudyNumber,
    table: Annotated[
        Path | None, typer.Option("--csv", help="New file for a table of all samples; - for standard output.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option("--optuna", metavar="FILE|URL", help="An Optuna storage: SQLite, a .journal file, or a URL."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the study in that storage; else idds-STUDY.")] = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="For Optuna: with the values on the way; a call for each sample.")
    ] = False,
) -> None:
    """Export the samples of a study."""
    if (table is None) is (storage is None):
        raise leave(InvalidInput([Problem("", "say where to: --csv FILE, or --optuna FILE")]))
    if table is not None and steps:
        raise leave(InvalidInput([Problem("--steps", "a table has no values on the way: take --optuna")]))
    if table is not None and table.exists():
        raise leave(InvalidInput([Problem("--csv", f"{table} is there already")]))
    if table is not None:
        _to_table(context, study, table)
        return
    assert storage is not None
    try:
        import idds.search.optuna_exchange  # noqa: F401 -- whether it is installed
    except ModuleNotFoundError as error:
        typer.echo(f"idds: --optuna needs {error.name}: install it with pip install 'idds-next[search]'", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    place, called = storage, name or f"idds-{study}"
    count = converse(context, lambda client: _to_optuna(client, study, place, called, steps), patience_s=PATIENCE_S)
    write(f"{count:,} trials are in study {called!r}")


def _to_table(context: typer.Context, study: int, path: Path) -> None:
    try:
        with _file(path) as file:
            count = converse(context, lambda client: _write(client, study, file), patience_s=PATIENCE_S)
    except OSError as error:
        typer.echo(f"idds: {path} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    if str(path) != "-":
        write(f"{count:,} samples are in {path}")


@contextmanager
def _file(path: Path) -> "Iterator[IO[str]]":
    """Where to write; a file gets its name when it is whole."""
    if str(path) == "-":
        yield sys.stdout
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            yield file
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


async def _write(client: "Client", study: int, file: "IO[str]") -> int:
    """The samples are read twice: first for the names of their parameters."""
    about = await client.study(study)
    names: set[str] = set()
    constraints = 0
    async with aclosing(_samples(client, about)) as samples:
        async for sample in samples:
            names.update(sample.parameters)
            constraints = max(constraints, len(sample.constraint_values or ()))
    columns = [f"params_{name}" for name in sorted(names)]
    valued, bound = _columns("value", len(about.directions)), _columns("constraint", constraints)
    ways = dict(zip(_columns("direction", len(about.directions)), about.directions, strict=True))
    head = ["number", "status", *valued, *ways, *bound, *columns, "pruned", "origin", "version", "attempt", "reason"]
    writer = csv.DictWriter(file, [*head, "changed_at"], restval="", extrasaction="ignore")
    writer.writeheader()
    count = 0
    async with aclosing(_samples(client, about)) as samples:
        async for sample in samples:
            writer.writerow(ways | _row(sample, valued, bound))
            count += 1
    return count


def _columns(name: str, count: int) -> list[str]:
    """As Optuna names them in a data frame."""
    return [name] if count == 1 else [f"{name}s_{number}" for number in range(count)]


def _row(sample: "Sample", valued: list[str], bound: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"number": sample.number, "status": sample.status.value, "pruned": sample.is_pruned}
    row |= {"origin": sample.origin.value, "version": sample.version, "attempt": sample.attempt}
    row |= {"reason": sample.reason or "", "changed_at": sample.changed_at}
    row |= dict(zip(valued, sample.objective_values or (), strict=False))
    row |= dict(zip(bound, sample.constraint_values or (), strict=False))
    return row | {f"params_{name}": value for name, value in sample.parameters.items()}


async def _to_optuna(client: "Client", study: int, place: str, name: str, steps: bool) -> int:
    """How many trials were given."""
    import asyncio

    from idds.search.optuna_exchange import OptunaStudy

    about = await client.study(study)
    space = await _space(client, about)
    told = {"idds:study": about.id, "idds:request": about.request, "idds:sampler": about.sampler}
    made = await asyncio.to_thread(OptunaStudy, place, name, about.directions, space, told)
    block: list[Ended] = []
    count = 0
    async with aclosing(_ended(client, about, steps)) as ended:
        async for each in ended:
            block.append(each)
            if len(block) == AT_ONCE:
                await asyncio.to_thread(made.add, block)
                count, block = count + len(block), []
    await asyncio.to_thread(made.add, block)
    return count + len(block)


async def _samples(client: "Client", study: "Study") -> "AsyncGenerator[Sample, None]":
    """Those that go with what is known of the study: what it is redefined to meanwhile has other parameters."""
    async with aclosing(client.samples(study.id)) as samples:
        async for sample in samples:
            if sample.version <= study.version:
                yield sample


async def _ended(client: "Client", study: "Study", steps: bool) -> "AsyncGenerator[Ended, None]":
    from idds.search.optuna_exchange import Ended

    async with aclosing(_samples(client, study)) as samples:
        async for sample in samples:
            if sample.status.is_terminal:
                on_its_way = (await client.sample(study.id, sample.number)).intermediates if steps else ()
                yield Ended(sample, {each.step: each.value for each in on_its_way})


async def _space(client: "Client", study: "Study") -> "dict[str, Any]":
    """All that was ever searched."""
    from idds.engine.space_union import union
    from idds.engine.spaces import spaces_of

    spaces = [space.parameters for space in spaces_of(study.definition)]
    if study.version > 1:
        async for version in client.versions(study.id):
            spaces += [segment.space for segment in version.segments] or [version.space]
    return union(spaces)
