"""The transformer decides. It never talks to the outside."""

from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty
from idds.runtime.wiring import Wired


def agent(wired: Wired) -> Agent:
    progress, sampling, delivery = wired.progress(), wired.sampling(), wired.doors.delivery
    return Agent(
        "transformer",
        [
            Duty("requests", Channel.REQUESTS, progress.step, progress.next_due),
            Duty("sampling", Channel.ASK, sampling.step),
            Duty("leases", Channel.LEASES, delivery.end_leases, delivery.next_lease_end),
        ],
    )
