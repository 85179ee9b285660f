"""The command line: `idds`."""

from pathlib import Path
from typing import Annotated

import typer

from idds.cli import (
    carousel,
    contents,
    history,
    login,
    operations,
    orders,
    payload,
    pilot,
    processings,
    requests,
    study,
    tokens,
    watch,
)
from idds.cli.later import add_later
from idds.cli.session import Target

app = typer.Typer(
    name="idds",
    help="Intelligent data delivery: submit workflows, watch them, and run the service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a pretty traceback shows local variables, and so tokens
    rich_markup_mode=None,
)


@app.callback()
def target(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(help="Where the service is; else IDDS_URL, else url in the settings.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File that holds the token; else IDDS_TOKEN, IDDS_TOKEN_FILE, else token_file in the settings."
        ),
    ] = None,
) -> None:
    """Intelligent data delivery: submit workflows, watch them, and run the service.

    Settings are in ~/.config/idds/client.toml.
    """
    context.obj = Target(url, token_file)


app.command("submit")(requests.submit)
app.command("list")(requests.list_requests)
app.command("show")(requests.show)
app.command("watch")(watch.watch)
app.command("why")(requests.why)
app.command("cancel")(orders.cancel)
app.command("suspend")(orders.suspend)
app.command("resume")(orders.resume)
app.command("finish")(orders.finish)
app.command("retry")(orders.retry)
app.command("extend")(orders.extend)
app.command("processings")(processings.processings)
app.command("logs")(processings.logs)
app.command("history")(history.history)
app.command("events")(history.events)
app.command("contents")(contents.contents)
app.command("register")(contents.register)
app.command("close")(contents.close)
app.command("pilot")(pilot.pilot)
app.command("payload")(payload.payload)
app.command("agents")(operations.agents)
app.command("audit")(operations.audit)
app.add_typer(carousel.app, name="carousel")
app.add_typer(study.app, name="study")
app.add_typer(tokens.app, name="token")
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("whoami")(login.whoami)
add_later(app, "serve", "idds.cli.serve", "Run the service on this machine.")

db = typer.Typer(help="Upgrade, check or back up the database.", no_args_is_help=True)
add_later(db, "upgrade", "idds.cli.db", "Bring the database to the tables of this version.")
add_later(db, "check", "idds.cli.db", "Whether the database holds together, and all that is counted in it agrees.")
add_later(db, "backup", "idds.cli.db", "Copy the database, while the service runs.")
app.add_typer(db, name="db")
config = typer.Typer(help="Check or show the settings of the service.", no_args_is_help=True)
add_later(config, "check", "idds.cli.config", "Check the settings, and what they name.")
add_later(config, "show", "idds.cli.config", "Show the settings as they take effect, and where each comes from.")
app.add_typer(config, name="config")

add_later(app, "demo", "idds.cli.demo", "Show the service at work, on this machine.")
add_later(app, "simulate", "idds.cli.simulate", "Run a data carousel on paper: how large must the disk be?")
add_later(app, "shadow", "idds.cli.shadow", "Watch a staging as it is done today: what would a window have done?")


@app.command()
def version() -> None:
    """Print the version."""
    from idds import __version__

    typer.echo(__version__)
