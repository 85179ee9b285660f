"""Where the files of a scenario lie on cartridges. What is processed together is one piece: a group."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp, log, sqrt
from random import Random

from idds.simulation.scenario import Library, Requests, Scenario


@dataclass(frozen=True, slots=True)
class Dataset:
    """Groups `start` to `stop` (excluded) of the layout, in the order in which data management lists them."""

    library: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Of each group, by its number: how many files and bytes, on which cartridge of its library, from which byte on.

    Arrays, as ten million files are no reason for ten million objects. `datasets` are by the name of the requests that
    they are made for, one for each of them.
    """

    files: "array[int]" = field(default_factory=lambda: array("i"))
    bytes: "array[int]" = field(default_factory=lambda: array("q"))
    cartridge: "array[int]" = field(default_factory=lambda: array("i"))
    at: "array[int]" = field(default_factory=lambda: array("q"))
    datasets: dict[str, list[Dataset]] = field(default_factory=dict)

    def dataset(self, requests: Requests, number: int) -> Dataset:
        """That of one of the requests."""
        own = self.datasets[requests.of or requests.name]
        return own[number % len(own)]


def lay_out(scenario: Scenario) -> Layout:
    """The same for the same seed."""
    layout = Layout()
    writers = {name: _Writer(library) for name, library in scenario.libraries.items()}
    random = Random(scenario.seed)  # noqa: S311 -- a model's chance, not a secret's
    for requests in scenario.requests:
        if requests.library is not None:
            writer = writers[requests.library]
            layout.datasets[requests.name] = [
                _write(layout, writer, requests, requests.library, random) for _ in range(requests.count)
            ]
    return layout


def _write(layout: Layout, writer: "_Writer", requests: Requests, library: str, random: Random) -> Dataset:
    start = len(layout.files)
    pieces = [(*writer.place(size), files, size) for files, size in _sizes(requests, random)]
    if requests.order == "tape":
        pieces.sort()
    for cartridge, at, files, size in pieces:
        layout.files.append(files)
        layout.bytes.append(size)
        layout.cartridge.append(cartridge)
        layout.at.append(at)
    return Dataset(library, start, len(layout.files))


def _sizes(requests: Requests, random: Random) -> Iterator[tuple[int, int]]:
    """Files and bytes of each group.

    The sum of n lognormal sizes is drawn at once, as one lognormal of the same mean and variance (Fenton, IRE Trans.
    Commun. Syst. 8 (1960) 57); for n = 1 that is exact.
    """
    left = requests.files
    while left:
        files = min(requests.batch, left)
        left -= files
        sigma = sqrt(log(1 + (exp(requests.spread**2) - 1) / files))
        size = files * requests.file_bytes * exp(random.gauss(-(sigma**2) / 2, sigma) if sigma else 0.0)
        yield files, files * max(1, round(size / files))


class _Writer:
    """A library while data are taken: its open cartridges are written in turn, a segment each time."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._open = list(range(library.streams))
        self._filled = [0] * library.streams
        self._made = library.streams
        self._turn = 0
        self._segment = 0

    def place(self, size: int) -> tuple[int, int]:
        """The cartridge of the next piece, and the byte from which it lies there."""
        if self._segment >= self._library.segment_bytes:
            others = self._library.of_others
            self._filled[self._turn] += round(self._segment * others / (1 - others))
            self._turn, self._segment = (self._turn + 1) % self._library.streams, 0
        if self._filled[self._turn] and self._filled[self._turn] + size > self._library.cartridge_bytes:
            self._open[self._turn], self._filled[self._turn] = self._made, 0
            self._made += 1
        at = self._filled[self._turn]
        self._filled[self._turn] += size
        self._segment += size
        return self._open[self._turn], at
