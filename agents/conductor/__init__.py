"""The conductor talks: it publishes messages to MQTT, and takes acknowledgements from it, each at least once."""

from functools import partial

from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Listener
from idds.runtime.wiring import Wired
from idds.services.forgetting import MESSAGES_AT_ONCE
from idds.services.publishing import REQUESTS_AT_ONCE

GATHERED_S = 0.05
"""Messages of so long a time are published together."""


def agent(wired: Wired) -> Agent:
    keep = wired.settings.keep.messages_s * 1_000_000
    step = partial(wired.forgetting().messages, keep, unsent=wired.bus is None)
    forgetting = Duty("forgetting", Channel.AGE, step, MESSAGES_AT_ONCE, fallback_s=600)
    if wired.bus is None:
        return Agent("conductor", [forgetting])
    publishing, acknowledging = wired.publishing(), wired.acknowledging()
    return Agent(
        "conductor",
        [Duty("publishing", Channel.MESSAGES, publishing.step, REQUESTS_AT_ONCE, rest_s=GATHERED_S), forgetting],
        [Listener("acknowledgements", acknowledging.listen)],
    )
