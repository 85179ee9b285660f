"""Documents that a command is given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from idds.cli.exits import Exit, leave
from idds.domain.errors import InvalidInput


def document_of(file: Path, settings: Sequence[str] | None) -> dict[str, Any]:
    """What a file holds, with what `--set` says. What is wrong is told, and ends the command."""
    from idds.sdk.documents import load_document, set_value

    try:
        document = load_document(file)
        for setting in settings or ():
            set_value(document, setting)
    except InvalidInput as error:
        raise leave(error) from None
    except OSError as error:
        typer.echo(f"idds: {file} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    return document
