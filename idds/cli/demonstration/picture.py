"""The picture of a demo: the window, the files, the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds.cli.demonstration.disk import Sight
from idds.cli.demonstration.timeline import Timeline
from idds.sdk.views import MoveView

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#555555"
"""Okabe and Ito's colours, told apart by everybody."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Of a request from `since` `until` its end (microseconds UTC).

    `landed` and `processed` are moves of the first work's inputs; `images` and `means` have an entry per digit.
    """

    timeline: Timeline
    since: int
    until: int
    sights: Sequence[Sight]
    landed: Sequence[MoveView]
    processed: Sequence[MoveView]
    window_bytes: int
    files: int
    images: Sequence[int]
    means: Sequence[Sequence[float]]

    def seconds(self, at: int) -> float:
        return self.timeline.seconds(at) - self.timeline.seconds(self.since)


def draw(scene: Scene, path: Path) -> None:
    """Write a PNG. It takes a second or two: not for an event loop."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"A dataset of {scene.files} files on tape, through a disk ten times too small", fontsize=14)
    rows: Any = figure.subfigures(2, 1, height_ratios=[6, 1.7])
    on_disk, files = rows[0].subplots(2, 1, sharex=True)
    _draw_bytes(on_disk, scene)
    _draw_files(files, scene)
    _draw_digits(rows[1], scene)
    figure.savefig(path, dpi=120)


def _draw_bytes(axes: Any, scene: Scene) -> None:
    times = [scene.seconds(sight.at) for sight in scene.sights]
    kilobytes = [sight.bytes / 1000 for sight in scene.sights]
    window = scene.window_bytes / 1000
    axes.fill_between(times, kilobytes, step="post", color=BLUE, alpha=0.35, linewidth=0)
    axes.step(times, kilobytes, where="post", color=BLUE, linewidth=1, label="bytes on disk")
    axes.axhline(window, color=VERMILION, linewidth=2, label=f"the window: {window:.1f} kB")
    axes.set_ylim(0, 1.25 * window)
    axes.set_ylabel("on disk (kB)")
    _finish(axes, scene, "upper right")


def _draw_files(axes: Any, scene: Scene) -> None:
    landed, processed = _steps(scene, scene.landed), _steps(scene, scene.processed)
    released = [scene.seconds(sight.at) for sight in scene.sights], [sight.released for sight in scene.sights]
    for (times, files), colour, style, label in (
        (landed, BLUE, "-", "on disk so far"),
        (processed, ORANGE, "-", "processed so far"),
        (released, GREEN, "--", "released so far"),
    ):
        axes.step(times, files, where="post", color=colour, linestyle=style, linewidth=2, label=label)
    axes.axhline(scene.files, color=GREY, linewidth=1, linestyle=":")
    axes.set_ylim(0, 1.1 * scene.files)
    axes.set_ylabel("files")
    axes.set_xlabel("seconds since the request was submitted")
    _finish(axes, scene, "lower right")


def _steps(scene: Scene, moves: Sequence[MoveView]) -> tuple[list[float], list[int]]:
    times, files = [0.0], [0]
    for move in moves:
        times.append(scene.seconds(move.at))
        files.append(files[-1] + move.n)
    return times, files


def _finish(axes: Any, scene: Scene, legend: str) -> None:
    for number, kill in enumerate(scene.timeline.kills_s):
        label = "kill -9, and run again" if number == 0 else None
        axes.axvline(kill - scene.timeline.seconds(scene.since), color="black", linestyle="--", label=label)
    axes.set_xlim(0, 1.03 * scene.seconds(scene.until))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc=legend, frameon=False, ncols=3)


def _draw_digits(part: Any, scene: Scene) -> None:
    part.suptitle("What the merge found: the mean image of each digit", fontsize=11)
    for axes, pixels, images, digit in zip(
        part.subplots(1, len(scene.means)), scene.means, scene.images, range(len(scene.means)), strict=True
    ):
        axes.imshow([pixels[row : row + 8] for row in range(0, 64, 8)], cmap="gray_r", vmin=0, vmax=16)
        axes.set_title(str(digit), fontsize=11)
        axes.set_xlabel(f"{images} images", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
