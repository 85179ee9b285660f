"""What a person sees while the demo runs: bars on a terminal, lines elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from idds.domain.statuses import ContentStatus
from idds.domain.study import StudySummary

QUARTERS = 4
LINES = 10
"""Where there are no bars, a line is written each time another tenth is done."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the run has come, in files; and what lies on disk."""

    staged: int
    processed: int
    released: int
    files: int
    bytes: int
    window_bytes: int


@dataclass(slots=True)
class Screen:
    console: Console
    _progress: Progress | None = None
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _tenths: int = -1
    _quarters: int = 0

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def bars(self) -> Iterator[None]:
        """Bars as long as the block lasts, where there is a terminal to draw them."""
        if not self.console.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description:>10}"), BarColumn(40), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, console=self.console) as self._progress:
            for name in ("staged", "processed", "released", "on disk"):
                self._tasks[name] = self._progress.add_task(name, total=None, figures="")
            yield
        self._progress = None

    def show(self, standing: Standing) -> None:
        if self._progress is None:
            self._show_line(standing)
            return
        for name, n in (
            ("staged", standing.staged),
            ("processed", standing.processed),
            ("released", standing.released),
        ):
            figures = f"{n} of {standing.files} files"
            self._progress.update(self._tasks[name], completed=n, total=standing.files, figures=figures)
        figures = f"{standing.bytes:,} of {standing.window_bytes:,} bytes"
        on_disk = self._tasks["on disk"]
        self._progress.update(on_disk, completed=standing.bytes, total=standing.window_bytes, figures=figures)

    def show_studies(self, studies: Sequence[StudySummary]) -> None:
        """A line each time another quarter of the samples is done."""
        done = sum(study.counts.get(ContentStatus.DONE, 0) for study in studies)
        quarters = QUARTERS * done // max(1, sum(study.wanted for study in studies))
        if quarters > self._quarters:
            self._quarters = quarters
            told = (f"{s.counts.get(ContentStatus.DONE, 0)} of {s.wanted} by {s.sampler}" for s in studies)
            self.say(f"Samples evaluated: {', '.join(told)}.")

    def _show_line(self, standing: Standing) -> None:
        tenths = LINES * standing.processed // max(1, standing.files)
        if tenths > self._tenths:
            self._tenths = tenths
            self.say(
                f"{standing.staged} staged, {standing.processed} processed, {standing.released} released"
                f" of {standing.files} files; {standing.bytes:,} of {standing.window_bytes:,} bytes on disk"
            )
