"""The samplers' process: `python -m idds.search.worker` answers orders until its input ends."""

import os
import sys
import warnings
from typing import BinaryIO

from idds.domain.identifiers import CollectionId
from idds.search.frames import PREFIX, Asked, Failed, Wanted, packed, unpacked
from idds.search.study import StudySearch

BEHIND = 5
"""So much less urgent it is than the service, which has payloads to answer (nice)."""


def main() -> None:
    os.nice(BEHIND)
    frames, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    _quieten()
    studies: dict[CollectionId, StudySearch] = {}
    while (wanted := _read(frames)) is not None:
        for study in wanted.forget:
            studies.pop(study, None)
        answers.write(packed(_answered(studies, wanted)))
        answers.flush()


def _read(frames: BinaryIO) -> Wanted | None:
    prefix = frames.read(PREFIX)
    body = frames.read(int.from_bytes(prefix, "big"))
    if len(prefix) < PREFIX or len(body) < int.from_bytes(prefix, "big"):
        return None
    wanted = unpacked(body)
    assert isinstance(wanted, Wanted)
    return wanted


def _answered(studies: dict[CollectionId, StudySearch], wanted: Wanted) -> Asked | Failed:
    order = wanted.order
    try:
        if order.study not in studies or studies[order.study].version != order.version:
            studies[order.study] = StudySearch(order)
        return Asked(tuple(studies[order.study].ask(order)))
    except LookupError as error:
        studies.pop(order.study, None)
        return Failed(str(error))
    except Exception as error:  # noqa: BLE001 -- one study must not end the others
        studies.pop(order.study, None)
        return Failed(type(error).__name__)


def _quieten() -> None:
    """What Optuna tells of each trial is nobody's concern."""
    warnings.simplefilter("ignore")
    try:
        import optuna
    except ImportError:
        return  # without the extra `search` only what needs none of it is offered
    optuna.logging.set_verbosity(optuna.logging.ERROR)


if __name__ == "__main__":
    main()
