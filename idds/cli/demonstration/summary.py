"""What happened, as figures, as JSON and as a table."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from idds.cli.demonstration.tuning import Search
from idds.domain.statuses import Status


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed, a content or a processing, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Times are seconds since the request was submitted, less the time between a kill and the run that went on.

    `highest_bytes` was seen in `looks` looks at the disk; `replicas_left` counts what lies there at the end, or is
    still in the service's books. `images_expected` are scikit-learn's own, per digit.
    """

    status: Status
    files: int
    bytes: int
    window_bytes: int
    highest_bytes: int
    looks: int
    first_file_s: float
    first_result_s: float
    dataset_on_disk_s: float
    total_s: float
    announced_files: int
    announcements: int
    processings: int
    attempts: int
    outputs: int
    replicas_left: int
    failures: tuple[Failure, ...]
    images: tuple[int, ...]
    images_expected: tuple[int, ...]
    kills: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    url: str
    picture: str
    searches: tuple[Search, ...] = ()
    tuning_picture: str | None = None

    @property
    def broken(self) -> tuple[str, ...]:
        """What does not hold though it should."""
        findings = [*self.lost, *self.doubled, *(f"{each.what}: {each.reason}" for each in self.failures)]
        if self.status is not Status.FINISHED:
            findings.append(f"the request is {self.status}")
        if self.highest_bytes > self.window_bytes:
            findings.append(f"{self.highest_bytes} bytes lay on disk: the window is {self.window_bytes}")
        if self.replicas_left:
            findings.append(f"{self.replicas_left} replicas are left on disk")
        if self.images != self.images_expected:
            findings.append("the merge counted other images than scikit-learn does")
        return (*findings, *(finding for search in self.searches for finding in search.broken))

    def as_json(self) -> dict[str, Any]:
        """Its fields, and `broken`."""
        return {**asdict(self), "broken": self.broken}


def table(summary: Summary) -> Table:
    rows = Table(show_header=False, title="The data carousel on the UCI handwritten digits", title_justify="left")
    rows.add_column(style="bold")
    rows.add_column()
    percent = 100 * summary.highest_bytes / summary.window_bytes
    counted = "as scikit-learn counts them" if summary.images == summary.images_expected else "NOT as they should be"
    for name, value in (
        ("request", summary.status),
        ("dataset on tape", f"{summary.files} files, {summary.bytes:,} bytes"),
        ("window on disk", f"{summary.window_bytes:,} bytes, a tenth of it"),
        ("highest on disk", f"{summary.highest_bytes:,} bytes, {percent:.0f} % of the window ({summary.looks} looks)"),
        ("first file on disk", f"after {summary.first_file_s:.1f} s"),
        ("first file processed", f"after {summary.first_result_s:.1f} s"),
        ("last file on disk", f"after {summary.dataset_on_disk_s:.1f} s"),
        ("everything merged", f"after {summary.total_s:.1f} s"),
        ("announced on MQTT", f"{summary.announced_files} files in {summary.announcements} messages"),
        ("processings", f"{summary.processings} in {summary.attempts} attempts"),
        ("outputs", f"{summary.outputs} registered"),
        ("images counted", f"{sum(summary.images):,}, every digit {counted}"),
        ("replicas left", f"{summary.replicas_left or 'none'}"),
        ("failures", "; ".join(f"{each.what}: {each.reason}" for each in summary.failures) or "none"),
        ("kills survived", str(summary.kills)),
        ("lost and doubled", f"{len(summary.lost)} lost, {len(summary.doubled)} doubled"),
    ):
        rows.add_row(name, str(value))
    for search in summary.searches:
        rows.add_row(f"tuned by {search.sampler}", _tuned(search))
    return rows


def _tuned(search: Search) -> str:
    half = search.accuracies[len(search.accuracies) // 2 :]
    mean = sum(half) / max(1, len(half))
    return (
        f"accuracy {max(search.accuracies, default=0.0):.4f} at best, {mean:.2f} on average of the second half of"
        f" {search.done} samples; the best one tells {search.held_out:.1%} of unseen images"
    )
