"""Whether a service can start with its settings: what they name is looked for, nothing is started or changed."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from idds.domain.errors import InvalidInput, Problem, Unavailable
from idds.runtime.settings import Settings
from idds.runtime.settings_file import PREFIX, Sources
from idds.runtime.wiring import ddm_of, mqtt_options_of, provider_of
from idds.store.database import Database
from idds.store.upgrade import is_current

OF_CLIENTS = frozenset({"IDDS_URL", "IDDS_TOKEN", "IDDS_TOKEN_FILE", "IDDS_CONTENTS"})
"""Variables that are no settings of the service."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`problems` keep a service from starting or working; `notes` are what one should know."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


def check_settings(settings: Settings, sources: Sources) -> Checked:
    """What can be told without connecting to anybody."""
    checked = Checked()
    for problem in (*_plugins(settings), *_placement(settings), *_files(settings.model_dump(mode="json"))):
        place = problem.pointer.removeprefix("/").split("/")
        checked.problems.append(sources.problem(place, problem.message))
    checked.notes.extend(_variables(os.environ))
    checked.notes.extend(_open_files(settings.model_dump(mode="json")))
    _look_at_port(settings, sources, checked)
    return checked


async def check_database(settings: Settings, sources: Sources) -> Checked:
    """Whether the database answers, and has the tables of this version."""
    checked = Checked()
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not await asyncio.to_thread(Path(url.database or "").is_file):
        checked.notes.append(Problem("/store/url", f"{url.database} is not there yet: the first start makes it"))
        return checked
    database = Database(settings.database_url)
    try:
        if not await is_current(database):
            wrong = "the database has not the tables of this version: run `idds db upgrade`"
            (checked.notes if database.is_sqlite else checked.problems).append(Problem("/store/url", wrong))
    except Unavailable as error:
        checked.problems.append(sources.problem(("store", "url"), str(error)))
    finally:
        await database.close()
    return checked


def _plugins(settings: Settings) -> Iterator[Problem]:
    yield from _tried("/ddm/plugin", partial(ddm_of, settings))
    for name, plugin in settings.providers.items():
        yield from _tried(f"/providers/{name}/plugin", partial(provider_of, settings, name, plugin))
    if settings.bus.kind == "mqtt":
        yield from _tried("/bus/options", partial(mqtt_options_of, settings))


def _tried(place: str, make: Callable[[], object]) -> Iterator[Problem]:
    try:
        make()
    except InvalidInput as error:
        yield from error.problems
    except ImportError as error:
        yield Problem(place, f"it needs {error.name or error}, which is not installed")
    except (TypeError, ValueError) as error:
        yield Problem(place, str(error))


def _placement(settings: Settings) -> Iterator[Problem]:
    wanted = settings.placement.provider
    if wanted not in settings.providers:
        known = ", ".join(sorted(settings.providers)) or "none"
        yield Problem("/placement/provider", f"there is no provider {wanted!r}; there are: {known}")


def _files(values: Mapping[str, Any], place: str = "") -> Iterator[Problem]:
    """Settings that name a file to be read are called so: `password_file`."""
    for at, path in _named(values, place):
        try:
            path.open("rb").close()
        except OSError as error:
            yield Problem(at, f"{path} cannot be read: {error.strerror}")


def _open_files(values: Mapping[str, Any]) -> Iterator[Problem]:
    for at, path in _named(values, ""):
        if path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            yield Problem(at, f"others than its owner can read {path}")


def _named(values: Mapping[str, Any], place: str) -> Iterator[tuple[str, Path]]:
    for name, value in values.items():
        at = f"{place}/{name}"
        if isinstance(value, Mapping):
            yield from _named(value, at)
        elif isinstance(value, list):
            yield from _named({str(n): item for n, item in enumerate(value) if isinstance(item, Mapping)}, at)
        elif name.endswith("_file") and isinstance(value, str):
            yield at, Path(value).expanduser()


def _variables(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Misspelt variables do nothing, and nobody else would say so."""
    tops = {name.upper() for name in Settings.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in OF_CLIENTS:
            top = name.removeprefix(PREFIX).partition("__")[0]
            if top not in tops:
                yield Problem("", f"the environment variable {name} is no setting")


def _look_at_port(settings: Settings, sources: Sources, checked: Checked) -> None:
    host, port = settings.api.host, settings.api.port
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            said = f"somebody listens on port {port} of {host} already: this service, or another"
            checked.notes.append(sources.problem(("api", "port"), said))
        elif error.errno == errno.EACCES:
            checked.problems.append(sources.problem(("api", "port"), f"port {port} is for privileged processes only"))
        else:
            checked.problems.append(sources.problem(("api", "host"), f"{host} is no address of this machine"))
