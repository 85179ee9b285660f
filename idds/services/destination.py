"""The disk that an input is brought to where its workflow document names none."""

from idds.domain.hold import HoldKind
from idds.engine.choice import Choice, DiskOption, choose_disk
from idds.services.placement import Placement
from idds.store.database import Transaction

RECENT = 3600_000_000


async def choose_destination(tx: Transaction, placement: Placement, provider: str) -> Choice:
    """The best of the disks that inputs may be brought to, for work that runs on this provider."""
    names = placement.disks or (placement.disk,)
    if len(names) == 1:
        return choose_disk([DiskOption(names[0])])
    windows = await tx.windows.find([("rse", name) for name in names])
    holds = {hold.ref: hold.reason for hold in await tx.holds.all() if hold.kind is HoldKind.RSE}
    waiting: dict[str, int] = {}
    for (rse, _), (inputs, _) in (await tx.throughput.waiting()).items():
        waiting[rse] = waiting.get(rse, 0) + inputs
    came: dict[str, int] = {}
    for landing in await tx.throughput.landed_since(tx.now - RECENT):
        came[landing.rse] = came.get(landing.rse, 0) + landing.bytes
    options = []
    for name in names:
        window = windows.get(("rse", name))
        free_bytes = free_files = None
        if window is not None and window.limit_bytes is not None:
            free_bytes = max(0, window.limit_bytes - window.reserved_bytes)
        if window is not None and window.limit_files is not None:
            free_files = max(0, window.limit_files - window.reserved_files)
        speed = came.get(name, 0) / (RECENT / 1_000_000)
        distance = placement.distances.get(name, {}).get(provider, 0)
        options.append(DiskOption(name, free_bytes, free_files, waiting.get(name, 0), speed, distance, holds.get(name)))
    return choose_disk(options)
