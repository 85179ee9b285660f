"""Commands whose modules are imported only when they are run, so that `idds --help` doesn't load the service."""

import importlib
from typing import Any

import typer
from typer.core import TyperCommand

from idds.cli.exits import Exit


class Later(TyperCommand):
    """Leaves all its arguments to the command that is imported."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = args
        return args


def add_later(app: typer.Typer, name: str, module: str, summary: str) -> None:
    """Add the command that the function `name` of `module` is."""

    @app.command(name, cls=Later, help=summary)
    def run(context: typer.Context) -> None:
        try:
            function = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            typer.echo(f"idds: {name} needs {error.name}: install it with pip install 'idds-next[server]'", err=True)
            raise typer.Exit(Exit.REFUSED) from None
        alone = typer.Typer(add_completion=False)
        alone.command(name)(function)
        command = typer.main.get_command(alone)
        with command.make_context(name, context.args, parent=context.parent) as inner:
            command.invoke(inner)
