"""Where things go when the workflow document does not say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Defaults of the service: a provider, the disk that inputs are staged to, the one that outputs go to.

    `samples_in_flight` bounds the window of a study that names none.
    """

    provider: str
    disk: str
    outputs: str
    samples_in_flight: int = 100
