"""Files of JSON lines that outlive a kill: what was seen, in the order in which it was seen."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Record:
    """A line is appended in one write: a killed process leaves it whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    yield json.loads(line)
