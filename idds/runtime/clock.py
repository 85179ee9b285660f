"""The clock of this machine."""

import time


class SystemClock:
    """Fulfils `idds.ports.clock.Clock`."""

    def now(self) -> int:
        return time.time_ns() // 1000
