"""The carousel on paper, as a command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idds.cli.output import duration, size, write, write_json, write_table
from idds.cli.session import AsJson
from idds.cli.settings import told
from idds.domain.errors import InvalidInput, Problem
from idds.simulation.picture import draw
from idds.simulation.running import STRATEGIES, Trial, smallest_window
from idds.simulation.scenario import read_scenario

if TYPE_CHECKING:
    from idds.simulation.measures import Outcome

WITHIN = 1.05
TITLES = (
    "strategy",
    "peak disk",
    "reserved",
    "recalled",
    "makespan",
    "of bound",
    "first file: median",
    "longest",
    "mounts/1000 files",
    "unfairness",
)


def simulate(
    scenario: Annotated[Path, typer.Argument(help="TOML file; there are some in config/scenarios.")],
    strategy: Annotated[
        list[str] | None, typer.Option(help="whole, fixed or planned; may be said again. All of them without one.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=1, metavar="BYTES", help="A window instead of the scenario's.")
    ] = None,
    smallest: Annotated[
        bool, typer.Option("--smallest", help="And look for the smallest window within 5 % of the shortest time.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw bytes on disk over time.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a scenario of tape libraries, a disk and requests on paper, under one strategy after the other.

    whole: each dataset is staged as a whole and kept until its request has ended. fixed: each request has an equal
    part of the disk for itself. planned: the planner of this service.
    """
    with told():
        names = _chosen(strategy or list(STRATEGIES))
        trial = Trial.of(read_scenario(scenario))
        outcomes = []
        for name in names:
            outcomes.append(trial.run(name, window))
            if as_json:
                write_json(as_document(outcomes[-1]))
        if not as_json:
            _tell(trial, outcomes)
        if smallest:
            for name in names:
                if name != "whole":
                    _tell_smallest(trial, name, as_json=as_json)
        if picture is not None:
            picture.write_text(draw(outcomes, trial.scenario.name), encoding="utf-8")


def _chosen(names: list[str]) -> list[str]:
    if unknown := [name for name in names if name not in STRATEGIES]:
        known = ", ".join(STRATEGIES)
        raise InvalidInput([Problem("--strategy", f"there is no {unknown[0]!r}; there are {known}")])
    return names


def _tell(trial: Trial, outcomes: "list[Outcome]") -> None:
    one = outcomes[0]
    write(
        f"{trial.scenario.name}: {one.files:,} files, {size(one.bytes)}, {one.requests} requests;"
        f" window {size(one.window_bytes)}; tapes need {duration(one.bound)} at least"
    )
    write_table(TITLES, (_row(outcome) for outcome in outcomes))
    for outcome in outcomes:
        if outcome.refused_groups:
            write(f"{outcome.strategy}: {outcome.refused_groups} groups are larger than a window and were refused")


def _row(outcome: "Outcome") -> tuple[str, ...]:
    return (
        outcome.strategy,
        size(outcome.peak_bytes),
        size(outcome.reserved_bytes),
        size(outcome.recalled_bytes),
        duration(outcome.makespan),
        f"{outcome.stretch:.3f}",
        duration(outcome.first_median),
        duration(outcome.first_last),
        f"{1000 * outcome.mounts / outcome.files:.2f}",
        f"{outcome.unfairness:.3f}",
    )


def _tell_smallest(trial: Trial, name: str, *, as_json: bool) -> None:
    endless = trial.run(name, trial.bytes).makespan
    for what, shortest in (("bound", trial.bound), ("makespan of an endless window", endless)):
        found = smallest_window(trial, name, round(WITHIN * shortest))
        if as_json:
            document = {"smallest_within": WITHIN, "of": what, "strategy": name}
            write_json(document | {"window_bytes": None if found is None else found.window_bytes})
        else:
            answer = "none" if found is None else f"{size(found.window_bytes)}, on disk {size(found.peak_bytes)}"
            write(f"{name}: smallest window within 5 % of the {what}: {answer}")


def as_document(outcome: "Outcome") -> dict[str, Any]:
    """For programs: times in seconds."""
    return {
        "strategy": outcome.strategy,
        "window_bytes": outcome.window_bytes,
        "requests": outcome.requests,
        "files": outcome.files,
        "bytes": outcome.bytes,
        "refused_groups": outcome.refused_groups,
        "bound_s": outcome.bound / 1e6,
        "makespan_s": outcome.makespan / 1e6,
        "stretch": outcome.stretch,
        "peak_bytes": outcome.peak_bytes,
        "reserved_bytes": outcome.reserved_bytes,
        "recalled_bytes": outcome.recalled_bytes,
        "mounts": outcome.mounts,
        "first_median_s": outcome.first_median / 1e6,
        "first_last_s": outcome.first_last / 1e6,
        "lasted_s": [lasted / 1e6 for lasted in outcome.lasted],
        "unfairness": outcome.unfairness,
    }
