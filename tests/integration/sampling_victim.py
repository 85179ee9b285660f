"""A transformer that is to be killed: it stands still where it would ask the sampler for points of a version.

Its input is one JSON document: the database's URL, and the version.
"""

import asyncio
import json
import sys
from collections.abc import Sequence

from idds.ports.sampler import Order, Suggestion
from idds.search import offer as search
from idds.services.placement import Placement
from idds.services.progress import Progress
from idds.services.sampling import Sampling
from idds.store.database import Database


async def _stand_still(order: Order) -> Sequence[Suggestion]:
    print("asking", flush=True)
    await asyncio.Event().wait()
    return ()


async def main() -> None:
    wanted = json.load(sys.stdin)
    database = Database(wanted["url"])
    samplers = search.samplers()
    for sampler in set(samplers.values()):

        async def ask(order: Order, ask=sampler.ask) -> Sequence[Suggestion]:  # type: ignore[no-untyped-def]
            return await (_stand_still if order.version == wanted["version"] else ask)(order)

        sampler.ask = ask  # type: ignore[method-assign]
    progress, sampling = Progress(database, Placement("local", "DISK", "DISK", 4)), Sampling(database, samplers, "dies")
    while await progress.step() + await sampling.step():
        pass
    print("done", flush=True)


asyncio.run(main())
