"""Files that were on disk and are no more: nobody is told to take them, and they are brought again."""

from collections.abc import Mapping, Sequence

from idds.domain.effect import NewEffect
from idds.domain.identifiers import Did
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.ports.ddm import Residency
from idds.services.announcing import follow
from idds.store.contents import pinned_to
from idds.store.database import Transaction

REASON = "the data management has it on disk no more"


async def withdraw(tx: Transaction, rse: str, vanished: Sequence[Replica], found: Mapping[Did, Residency]) -> None:
    """Take back what nobody has taken yet of these replicas, which are locked with those who pin them.

    Ours are recalled again, in the room that they have; what somebody else kept is admitted anew. Who has a lease
    keeps it: what comes of it is his to say.
    """
    ids = [replica.id for replica in vanished]
    reasons = {found[replica.did].reason for replica in vanished} - {None}
    reason = f"{REASON}: {reasons.pop()}" if len(reasons) == 1 else REASON
    ours = [replica for replica in vanished if replica.ours]
    await tx.replicas.move(ReplicaEvent.VANISHED, rse, [replica.id for replica in ours], reason=reason)
    foreign = [replica.id for replica in vanished if not replica.ours]
    await tx.replicas.move(ReplicaEvent.FORGOTTEN, rse, foreign, reason=reason)
    await follow(tx, await tx.contents.move(ContentEvent.WITHDRAWN, pinned_to(ids), reason=reason))
    await tx.contents.unpin(foreign)
    if ours:
        # What the data management brings again of its own accord is found to be on its way then.
        again = sorted(replica.id for replica in ours)
        payload = {"rse": rse, "replicas": again}
        tx.effects.add([NewEffect(EffectKind.STAGE, f"replica:{again[0]}", tx.now, payload)], None)
