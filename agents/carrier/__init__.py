"""The carrier acts on the world: it lists datasets, stages and releases replicas, submits, polls and cancels."""

from agents.carrier.polling import Polling
from agents.carrier.surveying import Surveying
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Listener
from idds.runtime.wiring import Wired


def agent(wired: Wired) -> Agent:
    listing, residencies, execution = wired.listing(), wired.residencies(), wired.execution()
    surveying = Surveying(residencies, wired.clock)
    pollings = [Polling(name, provider, execution, wired) for name, provider in wired.providers.items()]
    return Agent(
        "carrier",
        [
            Duty("listing", Channel.LIST, listing.step),
            Duty("staging", Channel.STAGE, residencies.stage),
            Duty("releasing", Channel.RELEASE, residencies.release),
            Duty("surveying", Channel.REPLICAS, surveying.step, surveying.next_due),
            Duty("submitting", Channel.SUBMIT, execution.submit),
            Duty("cancelling", Channel.CANCEL, execution.cancel),
            *(Duty(f"polling {each.name}", Channel.JOBS, each.step, each.next_due) for each in pollings),
        ],
        [
            Listener("changes of replicas", residencies.listen),
            *(Listener(f"events of {each.name}", each.listen) for each in pollings),
        ],
    )
