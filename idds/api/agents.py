"""The agents: which processes run them, and how their duties fare."""

from idds.api.replies import AgentsReply
from idds.api.route import Call, Caller, Reply, Route


async def agents(call: Call[None, None]) -> Reply:
    return Reply(AgentsReply(await call.doors.catalogue.agents()))


ROUTES = (
    Route(
        "GET",
        "/v1/agents",
        "listAgents",
        "Processes that run agents, and what their duties have done; who ended without a word is shown for an hour",
        Caller.READER,
        agents,
        reply=AgentsReply,
    ),
)
