"""A carrier's looks at what comes and at what goes, as its duties take them."""

from idds.services.staging import Residencies


async def survey(residencies: Residencies, *, everything: bool) -> int:
    """Look at both; how many replicas moved."""
    await residencies.take_hints()
    arrived = await residencies.arrivals.step(everything=everything)
    return arrived + await residencies.departures.step(everything=everything)
