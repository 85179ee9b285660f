"""Wake-ups: hints that there is work. Losing one costs the fallback interval of who waits, never correctness."""

from enum import StrEnum
from typing import Protocol

from idds.domain.statuses import EffectKind


class Channel(StrEnum):
    """What there is: each has one duty that waits for it, but for three.

    Whoever leases waits for `contents`, whoever listens for `events`; nobody wakes `age`, and what has grown old is
    looked for now and then.
    """

    REQUESTS = "requests"
    MESSAGES = "messages"
    CONTENTS = "contents"
    LEASES = "leases"
    PLANNING = "planning"
    REPLICAS = "replicas"
    JOBS = "jobs"
    LIST = "effects.list"
    STAGE = "effects.stage"
    RELEASE = "effects.release"
    BOOST = "effects.boost"
    SUBMIT = "effects.submit"
    CANCEL = "effects.cancel"
    ASK = "effects.ask"
    STEER = "effects.steer"
    EXPIRY = "expiry"
    AGE = "age"
    EVENTS = "events"


def of_effects(kind: EffectKind) -> Channel:
    """The channel of effects of this kind."""
    return Channel(f"effects.{kind}")


class Wakeups(Protocol):
    def wake(self, channel: Channel) -> None:
        """Wake who waits on the channel, in every process; coalesced. Call it after the commit."""
        ...

    async def wait(self, channel: Channel, seen: int, timeout: float) -> int:
        """Return when the channel's count passed `seen` or after `timeout` seconds; the new count."""
        ...

    def count(self, channel: Channel) -> int:
        """How often the channel was woken in this process: take it before looking for work, then `wait` on it."""
        ...
