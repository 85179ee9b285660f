"""A task of a workload manager, which asked for a request in its own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from idds.domain.identifiers import Did


@dataclass(frozen=True, slots=True)
class Task:
    """`workload_id` is the workload manager's own number of it, `document` what it sent beside.

    The `dataset` is what its files are to be staged of, or only a name for its samples.
    """

    workload_id: int | None
    dataset: Did
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        """`StageIn` or `HyperParameterOpt`: what it asked for."""
        return str(self.document["request_type"])

    @property
    def is_segmented(self) -> bool:
        """Of its samples each is of one of several searches, and `model_id` among its parameters says of which."""
        return isinstance((self.document.get("request_metadata") or {}).get("opt_space"), list)
