"""What no strategy can beat: how long tapes, network and jobs need at the least."""

from collections.abc import Iterable
from dataclasses import dataclass

from idds.simulation.layout import Dataset, Layout
from idds.simulation.library import microseconds
from idds.simulation.requests import Request
from idds.simulation.scenario import Library, Scenario


@dataclass(slots=True)
class _Part:
    """What is needed of one cartridge; `end` is the byte behind the last of it."""

    bytes: int = 0
    files: int = 0
    end: int = 0

    def add(self, other: "_Part") -> None:
        self.bytes += other.bytes
        self.files += other.files
        self.end = max(self.end, other.end)


def tape_bound(scenario: Scenario, layout: Layout, requests: Iterable[Request]) -> int:
    """Microseconds from 0 until the last file can be processed, at the least.

    For each instant at which requests arrive: what arrives then and later is read from tape afterwards, every
    cartridge mounted once, wound through once, all drives busy to the end (the usual bounds of scheduling on parallel
    machines: mean load, longest job). No less either than the disk takes to be written, and jobs to process.
    """
    requests = list(requests)
    arrivals: dict[Dataset, int] = {}
    for request in requests:
        arrivals[request.dataset] = min(request.arrives_at, arrivals.get(request.dataset, request.arrives_at))
    needed = {dataset: _parts(layout, dataset) for dataset in arrivals}
    bound = max(request.arrives_at + request.processing_bound() for request in requests)
    for since in sorted(set(arrivals.values())):
        late = [dataset for dataset, arrived in arrivals.items() if arrived >= since]
        size = sum(part.bytes for dataset in late for part in needed[dataset].values())
        bound = max(bound, since + microseconds(size / scenario.disk.bytes_s))
        for name, library in scenario.libraries.items():
            parts = _merged(needed[dataset] for dataset in late if dataset.library == name)
            if parts:
                bound = max(bound, since + microseconds(_library_bound(library, parts)))
    return bound


def _parts(layout: Layout, dataset: Dataset) -> dict[int, _Part]:
    parts: dict[int, _Part] = {}
    for group in range(dataset.start, dataset.stop):
        size = layout.bytes[group]
        part = parts.setdefault(layout.cartridge[group], _Part())
        part.add(_Part(size, layout.files[group], layout.at[group] + size))
    return parts


def _merged(needed: Iterable[dict[int, _Part]]) -> list[_Part]:
    merged: dict[int, _Part] = {}
    for parts in needed:
        for cartridge, part in parts.items():
            merged.setdefault(cartridge, _Part()).add(part)
    return list(merged.values())


def _library_bound(library: Library, parts: list[_Part]) -> float:
    def reading(part: _Part) -> float:
        wound = library.locate_s * (part.end - part.bytes) / library.cartridge_bytes
        return library.load_s + wound + part.files * library.file_s + part.bytes / library.drive_bytes_s

    # The last cartridge of each drive need not be put away.
    away = sorted(library.unload_s + library.locate_s * part.end / library.cartridge_bytes for part in parts)
    total = sum(library.exchange_s + reading(part) for part in parts) + sum(away[: -library.drives])
    by_robot = len(parts) * library.exchange_s / library.arms
    longest = max(library.exchange_s + reading(part) for part in parts)
    return max(total / library.drives, by_robot, longest)
