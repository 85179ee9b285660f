"""The picture of the second part: accuracy over evaluations, and where in the space the good points lie."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from idds.cli.demonstration.picture import BLUE, GREY, ORANGE
from idds.cli.demonstration.tuning import Search

COLOURS = {"random": ORANGE}
MARKERS = {"none": "o", "pca": "s"}


def draw_tuning(searches: Sequence[Search], images: int, path: Path) -> None:
    """Write a PNG. It takes a second or two: not for an event loop."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"A classifier tuned on the {images:,} digits that the carousel delivered", fontsize=14)
    over_time, in_space = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _draw_best(over_time, searches)
    _draw_space(in_space, searches[0], figure)
    figure.savefig(path, dpi=120)


def _draw_best(axes: Any, searches: Sequence[Search]) -> None:
    for search in searches:
        colour = COLOURS.get(search.sampler, BLUE)
        numbers = range(1, len(search.accuracies) + 1)
        errors = [100 * (1 - accuracy) for accuracy in search.accuracies]
        axes.scatter(numbers, errors, s=14, color=colour, alpha=0.5, linewidths=0)
        best = list(accumulate(errors, min))
        style = "--" if search.sampler in COLOURS else "-"
        axes.step(numbers, best, where="post", color=colour, linestyle=style, linewidth=2, label=_label(search))
    axes.set_xlabel("evaluations")
    axes.set_ylabel("digits not recognized, by cross-validation (%)")
    axes.set_yscale("log")
    axes.set_ylim(1, 110)
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, title="each sample, and the best so far"
    )


def _label(search: Search) -> str:
    name = "random search" if search.sampler == "random" else search.sampler.upper()
    return f"{name}: {100 * (1 - max(search.accuracies, default=0.0)):.2f} %"


def _draw_space(axes: Any, search: Search, figure: Any) -> None:
    drawn = None
    for reduced, marker in MARKERS.items():
        chosen = [n for n, point in enumerate(search.points) if point["reduce"] == reduced]
        drawn = axes.scatter(
            [search.points[n]["gamma"] for n in chosen],
            [search.points[n]["C"] for n in chosen],
            c=[search.accuracies[n] for n in chosen],
            marker=marker,
            label=reduced,
            vmin=0,
            vmax=1,
            cmap="viridis",
            edgecolors=GREY,
            linewidths=0.4,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("gamma")
    axes.set_ylabel("C")
    axes.set_title(f"where {search.sampler.upper()} looked", fontsize=11)
    axes.legend(loc="lower left", fontsize=8, title="reduce")
    figure.colorbar(drawn, ax=axes, label="accuracy")
