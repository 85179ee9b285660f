"""`python -m tests.bench [NAME...]`: run these benches, all by default, on SQLite and on PostgreSQL.

`simulating` needs no database, and minutes: it is run when it is named.
"""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from idds.store.database import Database
from idds.store.upgrade import upgrade
from tests.bench import (
    calls,
    carousel,
    inserts,
    leases,
    listening,
    payloads,
    planning,
    registering,
    simulating,
    steps,
    streaming,
    trials,
)
from tests.servers.postgres import PostgresServer

Measure = Callable[[str], Awaitable[list[tuple[str, str, str]]]]
BENCHES: dict[str, Measure] = {
    "steps": steps.measure,
    "inserts": inserts.measure,
    "listening": listening.measure,
    "leases": leases.measure,
    "calls": calls.measure,
    "registering": registering.measure,
    "streaming": streaming.measure,
    "carousel": carousel.measure,
    "planning": planning.measure,
    "payloads": payloads.measure,
    "trials": trials.measure,
}


async def _upgraded(url: str) -> None:
    database = Database(url)
    await upgrade(database)
    await database.close()


def _print(title: str, rows: list[tuple[str, str, str]]) -> None:
    print(f"\n{title}\n")
    print("| what | figure | against |\n| --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def main(names: list[str]) -> None:
    if "simulating" in names:
        simulating.main([])
        names = [name for name in names if name != "simulating"]
        if not names:
            return
    server = PostgresServer(durable=True)
    server.start()
    try:
        for number, name in enumerate(names or list(BENCHES)):
            with tempfile.TemporaryDirectory() as folder:
                url = f"sqlite:///{Path(folder) / 'bench.sqlite'}"
                _print(f"{name}, SQLite", asyncio.run(BENCHES[name](url)))
            asyncio.run(server.execute(f"CREATE DATABASE bench{number}"))
            url = server.url(f"bench{number}")
            asyncio.run(_upgraded(url))
            _print(f"{name}, PostgreSQL", asyncio.run(BENCHES[name](url)))
    finally:
        server.stop()
        server.remove()


if __name__ == "__main__":
    main(sys.argv[1:])
