"""The conductor talks: it publishes messages to MQTT, and takes acknowledgements from it, each at least once."""

from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Listener
from idds.runtime.wiring import Wired


def agent(wired: Wired) -> Agent:
    if wired.bus is None:
        return Agent("conductor", [])
    publishing, acknowledging = wired.publishing(), wired.acknowledging()
    return Agent(
        "conductor",
        [Duty("publishing", Channel.MESSAGES, publishing.step, 1)],
        [Listener("acknowledgements", acknowledging.listen)],
    )
