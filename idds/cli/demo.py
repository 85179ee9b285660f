"""The demo as a command."""

import asyncio
import json
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.exits import Exit, leave

if TYPE_CHECKING:
    from idds.cli.demonstration.run import Wish
    from idds.cli.demonstration.summary import Summary


def demo(
    directory: Annotated[Path, typer.Option(help="Folder of everything the demo keeps.")] = Path(".idds-demo"),
    files: Annotated[int, typer.Option(min=30, max=600, help="In how many files the digits are written.")] = 120,
    recall_s: Annotated[float, typer.Option(min=0.1, max=3600, help="How long the tape reads, in seconds.")] = 15.0,
    samples: Annotated[int, typer.Option(min=0, max=1000, help="Of each study of the second part, or none.")] = 60,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 for any free one.")] = 0,
    keep_serving: Annotated[bool, typer.Option(help="Let the service run on at the end, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run the data carousel on real data in one process, and tune a classifier on what it delivers.

    Killed, and run again with the same folder, it goes on where it was. Exits with 0 when all holds: nothing lost,
    nothing doubled, nothing failed, never more on disk than the window, nothing left there, each sample done once.
    """
    from idds.cli.demonstration.run import Wish
    from idds.domain.errors import IddsError

    needed = ("matplotlib", "sklearn", *(("optuna",) if samples else ()))
    if missing := [name for name in needed if find_spec(name) is None]:
        sys.stderr.write(f"idds demo: it needs {missing[0]}: pip install 'idds-next[server,demo,search]' brings it\n")
        raise typer.Exit(Exit.REFUSED)
    # The demo is one of a kind: settings made for another service must not lead it into that one's database.
    for name in [name for name in os.environ if name.startswith("IDDS_")]:
        del os.environ[name]
    wish = Wish(
        directory=directory, files=files, recall_s=recall_s, samples=samples, port=port, keep_serving=keep_serving
    )
    try:
        broken = asyncio.run(_demo(wish, as_json))
    except IddsError as error:
        raise leave(error) from None
    except OSError as error:
        sys.stderr.write(f"idds demo: {error}\n")
        raise typer.Exit(Exit.UNAVAILABLE) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("idds demo: stopped; run it again, and it goes on where it was\n")
        raise typer.Exit(Exit.INTERRUPTED) from None
    raise typer.Exit(Exit.NOT_FINISHED if broken else Exit.DONE)


async def _demo(wish: "Wish", as_json: bool) -> bool:
    """Whether anything did not hold."""
    from rich.console import Console

    from idds.cli.demonstration.run import demonstrate
    from idds.cli.demonstration.screen import Screen

    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    screen = Screen(Console(stderr=True))
    found: list[Summary] = []

    def tell(summary: "Summary") -> None:
        found.append(summary)
        _print(summary, as_json)
        if not wish.keep_serving:
            screen.say(f"The API ran at {summary.url}. It runs on with --keep-serving.")

    try:
        await demonstrate(wish, screen, tell)
    except asyncio.CancelledError:
        # Told to stop while it served on: the run itself had come to its end.
        if not found:
            raise
    return bool(found[-1].broken)


def _print(summary: "Summary", as_json: bool) -> None:
    from rich.console import Console

    from idds.cli.demonstration.summary import table

    if as_json:
        sys.stdout.write(json.dumps(summary.as_json(), indent=1) + "\n")
        sys.stdout.flush()
        return
    console = Console(highlight=False)
    console.print(table(summary))
    pictures = [summary.picture, *([summary.tuning_picture] if summary.tuning_picture else [])]
    console.print(f"Pictures: {' and '.join(pictures)}", soft_wrap=True)
    for finding in summary.broken:
        console.print(f"NOT AS IT SHOULD BE: {finding}", style="red", soft_wrap=True)
    console.print(f"{len(summary.lost)} lost, {len(summary.doubled)} doubled", style="bold")
