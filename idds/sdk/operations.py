"""Calls about the service itself: windows, replicas, and whether it can work."""

from idds.domain.agent import AgentProcess
from idds.domain.errors import Unavailable
from idds.domain.replica import Window
from idds.sdk.calls import Calls
from idds.sdk.exchange import Call
from idds.sdk.views import ReplicasView


class OperationCalls(Calls):
    """What operators look at."""

    async def ready(self) -> bool:
        """Whether the service can do its work now; asked once."""
        try:
            async with self._exchange.stream(Call("GET", "/readyz"), whole=True):
                return True
        except Unavailable:
            return False

    async def agents(self) -> tuple[AgentProcess, ...]:
        """The processes that run agents, and how their duties fare."""
        return await self._ask(tuple[AgentProcess, ...], Call("GET", "/v1/agents"), "agents")

    async def metrics(self) -> str:
        """The service's metrics, as Prometheus reads them."""
        return (await self._exchange.call(Call("GET", "/metrics"))).body.decode()

    async def windows(self) -> tuple[Window, ...]:
        """All windows, for operators."""
        return await self._ask(tuple[Window, ...], Call("GET", "/v1/windows"), "windows")

    async def replicas(self) -> tuple[ReplicasView, ...]:
        """How many replicas of each RSE have which status, for operators."""
        return await self._ask(tuple[ReplicasView, ...], Call("GET", "/v1/replicas"), "replicas")
