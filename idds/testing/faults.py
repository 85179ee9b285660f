"""Faults on command, for adapters in memory."""

from random import Random

from idds.domain.errors import Unavailable


class Crash(BaseException):
    """The process ends here: what it called may have happened, and nothing is recorded."""


class Faults:
    """Decides, by a seed, what goes wrong. `quiet` ends all trouble."""

    def __init__(self, random: Random, *, rate: float) -> None:
        self._random = random
        self._rate = rate

    def quiet(self) -> None:
        self._rate = 0.0

    def before(self) -> None:
        """At the start of a call: it may never arrive. Raises Unavailable or Crash."""
        self._maybe("the call was lost")

    def after(self) -> None:
        """At the end of a call that did its work: the reply may be lost. Raises Unavailable or Crash."""
        self._maybe("the reply was lost")

    def _maybe(self, what: str) -> None:
        if self._random.random() < self._rate:
            raise Crash(what) if self._random.random() < 0.5 else Unavailable(what)
