"""The command `study import`: results found elsewhere become a study, from which another may start.

No door of its own is needed for that: a study is created that has the known points as its initial ones, and nothing
else; they are leased, and reported with the values that are known.
"""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idds.cli.exits import Exit, leave
from idds.cli.output import write, write_json
from idds.cli.session import AsJson, converse
from idds.cli.study_creating import as_workflow, submit
from idds.domain.course import Result
from idds.domain.errors import IddsError, InvalidInput, Problem

if TYPE_CHECKING:
    from idds.domain.space import Value
    from idds.domain.study import StudySummary
    from idds.sdk.client import Client

MOST = 10_000
AT_ONCE = 500
PARAMETER = "params_"
LEFT_OVER = "left over"
"""What is in a row beyond the last column."""
PATIENCE_S = 60.0
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Python reads more as numbers: `1_000`, `007` and `inf` are texts."""


@dataclass(frozen=True, slots=True)
class Results:
    """Points and what came of them; `directions` where the source tells them, `space` a JSON document as in a study."""

    name: str
    directions: Sequence[str] | None
    space: Mapping[str, Any]
    found: Sequence[Result]


def import_study(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A table (.csv) as study export makes it, or an Optuna storage.")],
    study: Annotated[str | None, typer.Option(help="Which study of the storage; needed if it has several.")] = None,
    space: Annotated[
        Path | None, typer.Option(help="A study document whose space the points are of; else they tell it.")
    ] = None,
    direction: Annotated[
        list[str] | None, typer.Option(help="Of a table that does not tell: minimize or maximize, for each value.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the request; else that of the source.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a study of results that were found elsewhere; others begin with it by `warm_start`."""
    from idds.sdk.documents import load_document

    try:
        document = load_document(space) if space is not None else {}
        results = directed(_read(source, study), direction, document.get("directions"))
        made = converse(context, lambda client: _take(client, results, document, name), patience_s=PATIENCE_S)
    except IddsError as error:
        raise leave(error) from None
    except OSError as error:
        typer.echo(f"idds: {error.filename} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    if as_json:
        write_json(made)
    else:
        write(f"study {made.id} of request {made.request} has {made.ended:,} results")


def _read(source: str, study: str | None) -> Results:
    if source.endswith(".csv"):
        return read_table(Path(source))
    if "://" not in source:
        Path(source).open("rb").close()  # Optuna would make one, with nothing in it
    try:
        from idds.search.optuna_exchange import read_study
    except ModuleNotFoundError as error:
        typer.echo(f"idds: {source} needs {error.name}: install it with pip install 'idds-next[search]'", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    from idds.sdk.documents import to_plain

    found = read_study(source, study)
    described = {name: to_plain(parameter) for name, parameter in found.space.items()}
    return Results(found.name, found.directions, described, found.results)


def directed(results: Results, *given: Sequence[str] | None) -> Results:
    """With the directions that the source tells, or that were given. Raises InvalidInput where nobody says."""
    said = [list(each) for each in (results.directions, *given) if each]
    if not said:
        raise InvalidInput([Problem("--direction", f"{results.name} does not tell: say minimize or maximize")])
    for each in said[1:]:
        if each != said[0]:
            text = f"is this to {' and '.join(said[0])}, or to {' and '.join(each)}? Both is said"
            raise InvalidInput([Problem("--direction", text)])
    if results.found and len(said[0]) != (wanted := len(results.found[0].values)):
        raise InvalidInput([Problem("--direction", f"there are {wanted} values: give as many directions")])
    return replace(results, directions=said[0])


def read_table(path: Path) -> Results:
    """What `study export --csv` wrote, or Optuna's data frames: columns `params_NAME`, `value` or `values_N`, and where
    there are such `constraint` or `constraints_N`, `direction` or `directions_N`.

    Rows without all their values, or with one that is not finite, are passed over. Raises OSError, and InvalidInput
    naming the line.
    """
    columns, lines = _lines(path)
    valued, searched = _named(columns, "value"), [column for column in columns if column.startswith(PARAMETER)]
    if not (valued and searched):
        raise InvalidInput([Problem("", f"{path} has no columns value (or values_0, ...) and {PARAMETER}NAME")])
    bound, ways = _constraints(columns), _named(columns, "direction")
    rows = [(number, row) for number, row in lines if _is_result(number, row, [*valued, *bound])]
    typed = {column: _typed([row[column] for _, row in rows if row[column]]) for column in searched}
    found = [
        Result(
            parameters={name.removeprefix(PARAMETER): typed[name][row[name]] for name in searched if row[name]},
            values=tuple(float(row[column]) for column in valued),
            constraint_values=tuple(float(row[column]) for column in bound),
        )
        for _, row in rows
    ]
    space = {column.removeprefix(PARAMETER): _described(typed[column].values()) for column in searched}
    return Results(path.stem, _directions(rows, ways), space, found)


def _lines(path: Path) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """The columns, and the rows with their lines."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey=LEFT_OVER, restval="")
        try:
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidInput([Problem("", f"{path} is no table in UTF-8: {error}")]) from None
    if doubled := sorted({column for column in columns if column and columns.count(column) > 1}):
        raise InvalidInput([Problem("", f"{path} has several columns {', '.join(doubled)}")])
    for number, row in rows:
        if any(row.get(LEFT_OVER, "")):
            raise InvalidInput([Problem(f"/{number}", f"there are more cells than the {len(columns)} columns")])
    return columns, rows


def _named(columns: Sequence[str], name: str) -> list[str]:
    """The columns of one, or of several."""
    return [column for column in columns if column == name or column.startswith(f"{name}s_")]


def _constraints(columns: Sequence[str]) -> list[str]:
    """The columns that say whether a result is feasible: our own, or one of the two ways in which Optuna names them."""
    own = "system_attrs_constraints"
    if own in columns:  # as lists: that was the way of its versions before the fifth
        raise InvalidInput([Problem(f"/1/{own}", "lists cannot be read here: import Optuna's storage itself")])
    return _named(columns, "constraint") or [column for column in columns if column.startswith(f"{own}:")]


def _is_result(line: int, row: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Not one that failed or was pruned; of those that were Optuna has a value, too."""
    if row.get("pruned") == "True" or row.get("state", "COMPLETE") != "COMPLETE":
        return False
    return all(row[column] and math.isfinite(_value(row[column], line, column)) for column in wanted)


def _directions(rows: Sequence[tuple[int, Mapping[str, str]]], columns: Sequence[str]) -> list[str] | None:
    """Those that a table tells; all its rows tell the same."""
    if not (rows and columns):
        return None
    first = [rows[0][1][column] for column in columns]
    for number, row in rows:
        for column, direction in zip(columns, first, strict=True):
            if row[column] != direction:
                raise InvalidInput([Problem(f"/{number}/{column}", f"{row[column]!r}, and {direction!r} above")])
    return first


def _value(text: str, line: int, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or (math.isfinite(value) and not _NUMBER.fullmatch(text.strip())):
        raise InvalidInput([Problem(f"/{line}/{column}", f"{text!r} is no number")])
    return value


def _typed(texts: Sequence[str]) -> dict[str, "Value"]:
    """The value of each text: whole numbers where all are, else numbers where all are, true and false, else texts."""
    for read in (_whole, _number, _truth):
        try:
            return {text: read(text) for text in texts}
        except ValueError:
            continue
    return {text: text for text in texts}


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    if not (_NUMBER.fullmatch(text.strip()) and math.isfinite(float(text))):
        raise ValueError
    return float(text)


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError
    return text == "True"


def _described(values: Iterable["Value"]) -> dict[str, Any]:
    """A parameter that has room for these values; a choice where there is one value only."""
    found = list(dict.fromkeys(values))
    numbers = [value for value in found if not isinstance(value, str | bool)]
    if len(numbers) < len(found) or len(found) < 2:
        return {"type": "categorical", "choices": found}
    kind = "int" if all(isinstance(value, int) for value in numbers) else "float"
    return {"type": kind, "low": min(numbers), "high": max(numbers)}


async def _take(client: "Client", results: Results, document: Mapping[str, Any], name: str | None) -> "StudySummary":
    """The study that was made of them. Raises InvalidInput where the points do not fit their space."""
    _check(results, document)
    samples = {
        "space": results.space,
        "directions": results.directions,
        **{key: document[key] for key in ("space", "fixed", "constraints") if key in document},
        "sampler": "random",
        "count": len(results.found),
        "initial": [dict(each.parameters) for each in results.found],
        "result_constraints": len(results.found[0].constraint_values),
    }
    (made,) = await submit(client, as_workflow(samples, name or results.name, MOST, 1), is_alone=True)
    try:
        await _report(client, made.id, results)
        await client.wait(made.request)
        return await client.study(made.id)
    except BaseException:
        await client.cancel(made.request)
        raise


def _check(results: Results, document: Mapping[str, Any]) -> None:
    if not 0 < len(results.found) <= MOST:
        raise InvalidInput([Problem("", f"there are {len(results.found):,} results; a study takes 1 to {MOST:,}")])
    if "space" in document:
        return
    lacking = {name for each in results.found for name in results.space if name not in each.parameters}
    if lacking:
        reason = f"not all results have {', '.join(sorted(lacking))}: tell with --space on what that depends"
        raise InvalidInput([Problem("", reason)])


async def _report(client: "Client", study: int, results: Results) -> None:
    while True:
        lease = await client.lease(study, count=AT_ONCE, wait_s=5.0, ttl_s=600.0)
        if lease.contents:
            known = [(each, results.found[_number_of(each.name)]) for each in lease.contents]
            outcomes = [each.done(*found.values, constraint_values=found.constraint_values) for each, found in known]
            await client.report(study, outcomes)
        elif lease.ended:
            return


def _number_of(name: str) -> int:
    """Of a sample: initial points have the first numbers, in their order."""
    return int(name.rpartition("-")[2])
