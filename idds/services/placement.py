"""Where things go when the workflow document does not say."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Placement:
    """Defaults of the service: a provider, the disk that inputs are staged to, the one that outputs go to.

    `samples_in_flight` bounds the window of a study that names none. Of several `disks` the best is chosen for each
    input; `distances` says how far each is from each provider, 0 where it says nothing.
    """

    provider: str
    disk: str
    outputs: str
    samples_in_flight: int = 100
    disks: tuple[str, ...] = ()
    distances: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
