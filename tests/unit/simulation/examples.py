"""A small scenario, with what a test wants otherwise."""

from dataclasses import replace
from typing import Any

from idds.simulation.scenario import Disk, Library, Requests, Scenario

TAPE = Library(drives=2, streams=4, segment_bytes=20_000_000_000, cartridge_bytes=400_000_000_000)


def scenario(*requests: Requests, window_bytes: int = 10**12, library: Library = TAPE, **others: Any) -> Scenario:
    disk = Disk(window_bytes=window_bytes)
    return replace(Scenario(name="a test", disk=disk, libraries={"TAPE": library}, requests=list(requests)), **others)


def requests(name: str = "some", **others: Any) -> Requests:
    wish: dict[str, Any] = {"library": "TAPE", "files": 300, "batch": 3, "process_s": 60.0}
    return Requests(name=name, **{**wish, **others})
