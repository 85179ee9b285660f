"""Commands whose modules are imported only when they are run, so that `idds --help` doesn't load the service."""

import importlib
from collections.abc import Callable
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand

from idds.cli.exits import Exit


class Later(TyperCommand):
    """Leaves all its arguments to the command that is imported; that knows how they are completed, too."""

    load: ClassVar[Callable[[], Any]]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = args
        return args

    def get_params(self, ctx: Any) -> list[Any]:
        return list(type(self).load().get_params(ctx))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        return list(type(self).load().shell_complete(ctx, incomplete))


def add_later(app: typer.Typer, name: str, module: str, summary: str) -> None:
    """Add the command that the function `name` of `module` is."""

    def load() -> Any:
        alone = typer.Typer(add_completion=False)
        alone.command(name)(getattr(importlib.import_module(module), name))
        return typer.main.get_command(alone)

    @app.command(name, cls=type("Later", (Later,), {"load": staticmethod(load)}), help=summary)
    def run(context: typer.Context) -> None:
        try:
            command = load()
        except ModuleNotFoundError as error:
            typer.echo(f"idds: {name} needs {error.name}: install it with pip install 'idds-next[server]'", err=True)
            raise typer.Exit(Exit.REFUSED) from None
        with command.make_context(name, context.args, parent=context.parent) as inner:
            command.invoke(inner)
