"""The option that names the settings of the service, and what is said when they, or what they name, are no good."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from idds.cli.exits import Exit, leave
from idds.domain.errors import IddsError

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="TOML file; see config/idds.toml.")]


@contextmanager
def told() -> Iterator[None]:
    """What a user can cause ends the command with a sentence and its exit code."""
    try:
        yield
    except IddsError as error:
        raise leave(error) from None
    except FileNotFoundError as error:
        typer.echo(f"idds: {error}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    except OSError as error:
        following = "; choose another by --port" if error.errno == errno.EADDRINUSE else ""
        typer.echo(f"idds: {error.strerror or error}{following}", err=True)
        raise typer.Exit(Exit.UNAVAILABLE) from None
