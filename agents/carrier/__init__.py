"""The carrier acts on the world: it lists datasets, stages and releases replicas, submits, polls and cancels."""

from functools import partial

from agents.carrier import steering
from agents.carrier.polling import Polling
from agents.carrier.surveying import Surveying
from idds.domain.statuses import EffectKind
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Listener
from idds.runtime.wiring import Wired
from idds.services.commanding import AT_ONCE as COMMANDED_AT_ONCE
from idds.services.execution import AT_ONCE
from idds.services.forgetting import JOBS_AT_ONCE
from idds.services.keeping import AT_ONCE as KEPT_AT_ONCE
from idds.services.orders import AT_ONCE as ORDERED_AT_ONCE
from idds.services.stalls import AT_ONCE as STALLED_AT_ONCE
from idds.services.stalls import EFFECTS_AT_ONCE as BOOSTED_AT_ONCE

MOST_ORPHANS = 10**9
"""All of them are ended in one step."""


def agent(wired: Wired) -> Agent:
    listing, residencies, execution = wired.listing(), wired.residencies(), wired.execution()
    commanding = wired.commanding()
    forgetting, keep = wired.forgetting(), wired.settings.keep.jobs_s * 1_000_000
    due, orphans_s = wired.next_effect, wired.settings.keep.orphans_s
    stalls, judged_s = wired.stalls(), min(60.0, wired.settings.stalls.floor_s / 4)
    coming, going = (
        Surveying(residencies, each, wired.clock) for each in (residencies.arrivals, residencies.departures)
    )
    pollings = [Polling(name, provider, execution, wired) for name, provider in wired.providers.items()]
    return Agent(
        "carrier",
        [
            Duty("listing", Channel.LIST, listing.step, 1, due(EffectKind.LIST)),
            Duty("staging", Channel.STAGE, residencies.recalling.step, ORDERED_AT_ONCE, due(EffectKind.STAGE)),
            Duty("releasing", Channel.RELEASE, residencies.releasing.step, ORDERED_AT_ONCE, due(EffectKind.RELEASE)),
            Duty("boosting", Channel.BOOST, stalls.boost, BOOSTED_AT_ONCE, due(EffectKind.BOOST)),
            Duty("stalls", Channel.AGE, stalls.judge, STALLED_AT_ONCE, fallback_s=judged_s),
            Duty("arrivals", Channel.REPLICAS, coming.step, 1, coming.due_in),
            Duty("departures", Channel.REPLICAS, going.step, 1, going.due_in),
            Duty("keeping", Channel.AGE, wired.keeping().step, KEPT_AT_ONCE, fallback_s=60),
            Duty("tidying", Channel.AGE, wired.tidying().step, MOST_ORPHANS, fallback_s=orphans_s / 4),
            Duty("submitting", Channel.SUBMIT, execution.submit, AT_ONCE, due(EffectKind.SUBMIT)),
            Duty("steering", Channel.STEER, commanding.step, COMMANDED_AT_ONCE, due(EffectKind.STEER)),
            Duty("cancelling", Channel.CANCEL, execution.cancel, AT_ONCE, due(EffectKind.CANCEL)),
            *(Duty(f"polling {each.name}", Channel.JOBS, each.step, each.batch, each.due_in) for each in pollings),
            *(
                Duty(f"forgetting of {n}", Channel.AGE, partial(forgetting.jobs, n, keep), JOBS_AT_ONCE, fallback_s=600)
                for n in wired.providers
            ),
        ],
        [
            Listener("changes of replicas", residencies.listen),
            *(Listener(f"events of {each.name}", each.listen) for each in pollings),
            *(
                Listener(f"commands on {name}", partial(steering.listen, provider, commanding, wired.wakeups))
                for name, provider in wired.providers.items()
            ),
        ],
    )
