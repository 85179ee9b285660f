"""The transformer decides. It never talks to the outside."""

from functools import partial

from idds.domain.statuses import EffectKind
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty
from idds.runtime.wiring import Wired
from idds.services.delivery import LEASES_ENDED_AT_ONCE
from idds.services.expiring import EXPIRED_AT_ONCE
from idds.services.forgetting import ROWS_AT_ONCE
from idds.services.planning import BATCH as PLANNED_AT_ONCE
from idds.services.progress import BATCH


def agent(wired: Wired) -> Agent:
    progress, sampling, delivery = wired.progress(), wired.sampling(), wired.doors.delivery
    planning, expiring = wired.planning(), wired.expiring()
    ask = wired.next_effect(EffectKind.ASK)
    # One for each process that draws: an order of a slow study keeps one of them.
    drawing = ["sampling", *(f"sampling {number}" for number in range(2, wired.settings.sampler.number + 1))]
    keep = wired.settings.keep
    forgetting = partial(wired.forgetting().access, keep.tokens_s * 1_000_000, keep.audit_s * 1_000_000)
    landings = partial(wired.forgetting().landings, keep.landings_s * 1_000_000)
    return Agent(
        "transformer",
        [
            Duty("requests", Channel.REQUESTS, progress.step, BATCH, progress.due_in),
            Duty("planning", Channel.PLANNING, planning.step, PLANNED_AT_ONCE, planning.due_in),
            *(Duty(name, Channel.ASK, sampling.step, 1, ask) for name in drawing),
            Duty("expiry", Channel.EXPIRY, expiring.step, EXPIRED_AT_ONCE, expiring.due_in),
            Duty("forgetting of tokens", Channel.AGE, forgetting, ROWS_AT_ONCE, fallback_s=600),
            Duty("forgetting of landings", Channel.AGE, landings, ROWS_AT_ONCE, fallback_s=600),
            Duty("leases", Channel.LEASES, delivery.end_leases, LEASES_ENDED_AT_ONCE, delivery.lease_ends_in),
        ],
    )
