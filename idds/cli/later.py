"""Commands whose modules are imported only when they are run, so that `idds --help` doesn't load the service."""

import importlib
from typing import Annotated

import typer


def add_later(app: typer.Typer, name: str, module: str, summary: str) -> None:
    """Add the command that the function `name` of `module` is."""

    @app.command(
        name,
        help=summary,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    def run(context: typer.Context, arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
        try:
            function = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            typer.echo(f"idds: {name} needs {error.name}: install it with pip install 'idds-next[server]'", err=True)
            raise typer.Exit(2) from None
        alone = typer.Typer(add_completion=False)
        alone.command(name)(function)
        command = typer.main.get_command(alone)
        with command.make_context(name, list(arguments or ()), parent=context.parent) as inner:
            command.invoke(inner)
