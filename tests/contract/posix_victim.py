"""A process that stages files and waits to be killed: says so on its output once bytes are moving.

Its input is one JSON document: options, rse, files as [scope, name, bytes, adler32].
"""

import asyncio
import json
import sys
from pathlib import Path

from idds.ddm.posix import PosixDDM
from idds.domain.files import File
from idds.domain.identifiers import Did


async def main() -> None:
    order = json.load(sys.stdin)
    ddm = PosixDDM.from_options(order["options"])
    await ddm.start()
    files = [File(Did(scope, name), size, adler32) for scope, name, size, adler32 in order["files"]]
    await ddm.stage(order["rse"], files)
    folder = Path(order["options"]["root"], order["rse"])
    while not any(part.stat().st_size for part in folder.rglob("*.part")):
        await asyncio.sleep(0.01)
    print("moving", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
