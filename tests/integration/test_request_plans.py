"""Requests are listed and expire by indexes, however many have ended already."""

import json
from dataclasses import asdict

from sqlalchemy import text

from idds.domain.request import Principal, Role
from idds.domain.statuses import Status
from idds.domain.workflow import Payload, Work, Workflow
from idds.store.database import Database
from idds.store.requests import RequestFilter
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.test_plans import Hot, faults, hot

NOW = 10**12
REQUESTS = 30_000
USER = Principal("user7", "vo1")
READER = Principal("reader", "vo1", Role.READER)
OPERATOR = Principal("operator", "vo0", Role.OPERATOR)

_DOCUMENT = Workflow(name="w", works=(Work(name="w", payload=Payload(argv=("x" * 2000,))),))
_FILLING = """
INSERT INTO requests (name, status, intent, owner, vo, share, priority, workflow, digest, created_at, changed_at,
                      expires_at)
SELECT 'n' || (i % 3000) || '.x',
       CASE WHEN i % 500 = 0 THEN 'running' WHEN i % 700 = 0 THEN 'failed' ELSE 'finished' END,
       'run', 'user' || (i % 300), 'vo' || (i % 3), 's' || (i % 5), 0, :document, '', 1, 1,
       CASE WHEN i % 250 = 0 THEN 1000000000000 + i ELSE NULL END
  FROM {series}
"""


async def fill(database: Database) -> None:
    """Many that have ended, few that have not."""
    series, document = "generate_series(1, :n) AS i", "CAST(:document AS jsonb)"
    if database.is_sqlite:
        numbers = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n)"
        series, document = f"({numbers} SELECT i FROM numbers)", ":document"
    statement = _FILLING.format(series=series).replace(":document", document)
    async with database.transaction("test") as tx:
        bound = {"n": REQUESTS, "document": json.dumps(asdict(_DOCUMENT))}
        await tx.connection.execute(text(statement), bound)
    async with database.transaction("test") as tx:
        await tx.connection.execute(text("ANALYZE"))


def steps() -> list[Hot]:
    open_ = frozenset({Status.NEW, Status.RUNNING, Status.SUSPENDED})
    return [
        hot("of a VO", lambda tx: tx.requests.list(READER, limit=100), "ix_requests_vo_id"),
        hot("one's own", lambda tx: tx.requests.list(USER, limit=100), "ix_requests_owner_vo_id"),
        hot(
            "an owner's",
            lambda tx: tx.requests.list(OPERATOR, RequestFilter(owner="user7"), limit=100),
            "ix_requests_owner_vo_id",
        ),
        hot(
            "open ones",
            lambda tx: tx.requests.list(OPERATOR, RequestFilter(open_), before=REQUESTS - 5, limit=100),
            "ix_requests_status_id",
        ),
        hot(
            "one's own open ones",
            lambda tx: tx.requests.list(USER, RequestFilter(open_), limit=100),
            "ix_requests_status_id",
            "ix_requests_owner_vo_id",
        ),
        hot(
            "by name",
            lambda tx: tx.requests.list(OPERATOR, RequestFilter(name="n77.x"), limit=100),
            "ix_requests_name",
        ),
        hot("expire", lambda tx: tx.requests.expire(10), "ix_requests_expiring"),
        hot("next expiry", lambda tx: tx.requests.next_expiry(), "ix_requests_expiring"),
        hot("may be seen", lambda tx: tx.requests.is_visible(7, USER), "ix_requests_vo_id"),  # type: ignore[arg-type]
    ]


async def test_no_listing_reads_all_requests(database_url: str) -> None:
    database = Database(database_url, clock=ManualClock(NOW + REQUESTS))
    try:
        await upgrade(database)
        await fill(database)
        found = await faults(database, steps())
        assert not found, "\n".join(found)
    finally:
        await database.close()
