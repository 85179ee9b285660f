"""A task of a workload manager, which asked for a request in its own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from idds.domain.identifiers import Did


@dataclass(frozen=True, slots=True)
class Task:
    """`workload_id` is the workload manager's own number of it, `document` what it sent beside.

    The `dataset` is what its files are to be staged of.
    """

    workload_id: int | None
    dataset: Did
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
