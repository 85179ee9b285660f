"""Samples are drawn as they are taken and come back: in the transaction that delivers them, where that is plain."""

from dataclasses import replace

from idds.domain.statuses import Intent, Status
from idds.domain.workflow import Samples
from idds.engine.transform import demanded, drawn_at_once, runs_low
from idds.services.drawing import draw
from idds.store.collections import Place
from idds.store.database import Transaction


async def see_to_more(tx: Transaction, place: Place, *, taken: int = 0, waited_for: int | None = None) -> None:
    """Have more samples drawn where they run out, with so many `taken` just now, and so many more `waited_for`.

    None where nobody asked. The caller holds the lock of the request.
    """
    samples = place.work.samples
    if samples is None or place.collection.is_closed:
        return
    study = tx.collections.as_counted(place.collection)
    demand = study.demand if waited_for is None else demanded(samples, waited_for)
    if demand != study.demand:
        await tx.collections.note_demand(study.id, demand)
        study = replace(study, demand=demand)
    if (more := drawn_at_once(place.work, study)) is not None:
        goes_on = place.status is Status.RUNNING and place.intent is Intent.RUN
        is_due = goes_on and more > 0 and not await draw(tx, study, samples, more)
    else:
        is_due = (taken > 0 and _spends(samples)) or ((taken or demand) > 0 and runs_low(samples, study))
    if is_due:
        tx.requests.mark_due([study.request_id])


def _spends(samples: Samples) -> bool:
    """Whether time is spent from when samples are leased: when that ends the study is known with this."""
    return samples.stop is not None and samples.stop.budget_s is not None
