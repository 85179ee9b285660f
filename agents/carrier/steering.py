"""Commands of users are looked at as their provider hints at a change, and not by and by."""

from idds.ports.provider import Provider
from idds.ports.wakeups import Channel, Wakeups
from idds.services.commanding import Commanding


async def listen(provider: Provider, commanding: Commanding, wakeups: Wakeups) -> None:
    """For ever. A hint that is lost costs the provider's interval."""
    async for handles in provider.events():
        if commanding.hint(handles):
            wakeups.wake(Channel.STEER)
