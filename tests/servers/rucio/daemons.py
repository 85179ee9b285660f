"""Rucio's daemons as threads of one process; run by the Rucio environment's own Python, with RUCIO_CONFIG set.

Each is Rucio's function, called with short pauses: the commands of the same name wait 10 s and more.
"""

import signal
import threading
from datetime import timedelta
from functools import partial
from typing import Any

from rucio.common.types import InternalAccount  # noqa: F401 -- before the daemons: it breaks a circle of imports
from rucio.core.topology import ExpiringObjectCache, Topology
from rucio.daemons.common import run_daemon
from rucio.daemons.conveyor import finisher, poller, submitter
from rucio.daemons.hermes import hermes
from rucio.daemons.judge import cleaner, evaluator, repairer
from rucio.daemons.reaper import reaper
from rucio.daemons.undertaker import undertaker
from rucio.db.sqla import models
from rucio.db.sqla.session import get_session

PAUSE_S = 0.5
finisher.FAILED_DURING_SUBMISSION_DELAY = timedelta(seconds=2)
"""What FTS knows nothing of any more is submitted again after this; Rucio waits two hours."""


def _clean() -> None:
    """As `cleaner.rule_cleaner`, which leaves a rule alone for 10 to 40 minutes after it met a lock on it."""

    def once(**given: Any) -> None:
        cleaner.run_once(paused_rules={}, **given)

    run_daemon(
        once=False,
        graceful_stop=cleaner.graceful_stop,
        executable=cleaner.DAEMON_NAME,
        partition_wait_time=1,
        sleep_time=PAUSE_S,
        run_once_fnc=once,
    )


def _take_over() -> None:
    """What daemons that were killed had in hand, Rucio leaves alone for ten minutes."""
    session = get_session()()
    with session.begin():
        session.query(models.Request).update({"last_processed_by": None})


def main() -> None:
    _take_over()

    def topology() -> Any:
        return ExpiringObjectCache(ttl=300, new_obj_fnc=Topology)

    loops = {
        "submitter": partial(
            submitter.submitter, partition_wait_time=0, sleep_time=PAUSE_S, group_bulk=100, cached_topology=topology()
        ),
        "poller": partial(
            poller.poller, partition_wait_time=0, sleep_time=PAUSE_S, older_than=0, cached_topology=topology()
        ),
        "finisher": partial(finisher.finisher, partition_wait_time=0, sleep_time=PAUSE_S, cached_topology=topology()),
        "evaluator": partial(evaluator.re_evaluator, sleep_time=PAUSE_S),
        "cleaner": _clean,
        "repairer": partial(repairer.rule_repairer, sleep_time=5),
        "undertaker": partial(undertaker.undertaker, sleep_time=5),
        "hermes": partial(hermes.hermes, sleep_time=PAUSE_S),
        "reaper": partial(reaper.reaper, rses=[], include_rses=None, exclude_rses=None, greedy=True, sleep_time=1.5),
    }
    for name, loop in loops.items():
        threading.Thread(target=loop, name=name, daemon=True).start()
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    told.wait()


if __name__ == "__main__":
    main()
