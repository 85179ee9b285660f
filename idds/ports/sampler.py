"""A sampler: produces points of a search space."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from idds.domain.workflow import Samples


class Sampler(Protocol):
    async def ask(self, study: Samples, numbers: Sequence[int]) -> list[Mapping[str, Any]]:
        """The parameters of the samples with these numbers, in order; asked again, the same."""
        ...
