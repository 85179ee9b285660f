"""Commands about the settings of the service: checked, and shown as they take effect."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from idds.cli.exits import Exit
from idds.cli.output import plain, write, write_json
from idds.cli.session import AsJson
from idds.cli.settings import told
from idds.domain.errors import InvalidInput
from idds.runtime.settings import read_settings
from idds.runtime.settings_check import Checked, check_database, check_settings
from idds.runtime.settings_file import Sources

LEFT_OUT = "(left out)"
_SECRET = re.compile(r"password|secret|token|key", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")

File = Annotated[Path | None, typer.Argument(help="TOML file; see config/idds.toml. Without one: the defaults.")]


def check(
    file: File = None,
    connect: Annotated[bool, typer.Option("--connect", help="And see whether the database answers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings: each name and value, plugins, files, the port. Exits with 0 where a service can start."""
    with told():
        checked = _check(file, connect)
    if as_json:
        write_json(asdict(checked))
    else:
        for problem in checked.problems:
            write(plain(str(problem)))
        for note in checked.notes:
            write(plain(f"note: {note}" if note.pointer else f"note: {note.message}"))
        number = len(checked.problems)
        write("no problems" if number == 0 else f"{number} problem{'s' if number > 1 else ''}")
    raise typer.Exit(Exit.REFUSED if checked.problems else Exit.DONE)


def _check(file: Path | None, connect: bool) -> Checked:
    try:
        settings = read_settings(file)
    except InvalidInput as error:
        return Checked(problems=list(error.problems))
    sources = Sources(file)
    checked = check_settings(settings, sources)
    if connect:
        of_database = asyncio.run(check_database(settings, sources))
        checked.problems.extend(of_database.problems)
        checked.notes.extend(of_database.notes)
    return checked


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting, its value, and what said so."""

    name: str
    value: Any
    source: str


def show(file: File = None, as_json: AsJson = False) -> None:
    """Show the settings as they take effect, and where each comes from; secrets are left out."""
    with told():
        settings = read_settings(file)
        effective = list(_effective(settings.model_dump(mode="json"), (), Sources(file)))
    if as_json:
        for setting in effective:
            write_json(setting)
        return
    width = max(len(setting.name) for setting in effective)
    for setting in effective:
        value = "none" if setting.value is None else setting.value if setting.value == LEFT_OUT else repr(setting.value)
        write(plain(f"{setting.name:<{width}} = {value:<24}  {setting.source}"))


def _effective(values: Mapping[str, Any], place: tuple[str, ...], sources: Sources) -> Iterator[Effective]:
    for name, value in values.items():
        at = (*place, name)
        if isinstance(value, Mapping) and value:
            yield from _effective(value, at, sources)
        else:
            yield Effective(".".join(at), _shown(name, value), sources.of(at))


def _shown(name: str, value: Any) -> Any:
    """Without secrets; a file that holds one is none."""
    if isinstance(value, str) and value and _SECRET.search(name) and not name.endswith(("_file", "_url")):
        return LEFT_OUT
    if isinstance(value, list):
        return [_shown(name, item) if not isinstance(item, Mapping) else _within(item) for item in value]
    return _IN_URL.sub(r"\1:***@", value) if isinstance(value, str) else value


def _within(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _within(item) if isinstance(item, Mapping) else _shown(name, item) for name, item in value.items()}
