"""The same contents for all: as lines, as JSON, and put straight into the table."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator

import asyncpg

COLUMNS = (
    "request_id",
    "collection_id",
    "scope",
    "name",
    "min_id",
    "max_id",
    "bytes",
    "adler32",
    "group_no",
    "status",
    "changed_at",
)


def documents(first: int, number: int) -> Iterator[dict[str, object]]:
    for n in range(first, first + number):
        yield {"name": f"file.{n:08d}", "scope": "data18", "bytes": 2_000_000_000, "adler32": "0a1b2c3d"}


def lines(first: int, number: int) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents(first, number))


def _rows(collection: int, number: int) -> list[tuple[object, ...]]:
    return [
        (1, collection, d["scope"], d["name"], 0, 0, d["bytes"], d["adler32"], n, "available", 1)
        for n, d in enumerate(documents(0, number))
    ]


async def put_in(database_url: str, collection: int, number: int) -> float:
    """COPY on PostgreSQL, executemany in one transaction on SQLite; how many seconds that took."""
    rows = _rows(collection, number)
    clock = asyncio.get_running_loop().time
    if database_url.startswith("sqlite"):
        begun = clock()
        await asyncio.to_thread(_put_into_sqlite, database_url.removeprefix("sqlite:///"), rows)
        return clock() - begun
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        begun = clock()
        await connection.copy_records_to_table("contents", records=rows, columns=COLUMNS)
        return clock() - begun
    finally:
        await connection.close()


def _put_into_sqlite(path: str, rows: list[tuple[object, ...]]) -> None:
    connection = sqlite3.connect(path, timeout=60)
    connection.execute("PRAGMA synchronous = FULL")
    statement = f"INSERT INTO contents ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    with connection:
        connection.executemany(statement, rows)
    connection.close()
