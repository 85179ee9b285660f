"""Requests end when their time is over."""

from dataclasses import dataclass

from idds.domain.errors import InvalidInput, Problem
from idds.store.database import Database

AGENT = "transformer"
EXPIRED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long requests may take, in microseconds: where nothing is said, and at most. None: for ever."""

    default: int | None = None
    longest: int | None = None

    def end(self, lifetime: int | None, now: int) -> int | None:
        """When a request ends that is given this lifetime now, None: the default. Raises InvalidInput."""
        given = lifetime if lifetime is not None else self.default if self.default is not None else self.longest
        return self.exact_end(given, now)

    def exact_end(self, lifetime: int | None, now: int) -> int | None:
        """The same, but None gives it time for ever."""
        if self.longest is not None and (lifetime is None or lifetime > self.longest):
            said = f"give at most {self.longest // 1_000_000} s: longer than that no request may take here"
            raise InvalidInput([Problem("/lifetime_s", said)])
        return None if lifetime is None else now + lifetime


class Expiring:
    """What the transformer does for requests whose time is over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> int:
        """Order those to end whose time is over; how many. They end as by a cancel, when what is under way has."""
        async with self._database.transaction(AGENT) as tx:
            return len(await tx.requests.expire(EXPIRED_AT_ONCE))

    async def due_in(self) -> int | None:
        """In how many microseconds the time of the next one is over."""
        async with self._database.snapshot() as tx:
            return tx.distance(await tx.requests.next_expiry())
