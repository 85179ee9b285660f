"""Messages, for whoever does not listen on the bus; and what a workload manager says of its jobs and tasks."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from idds.api.facade.route import Call, FacadeRoute, NotTaken
from idds.api.facade.sending import send_list
from idds.api.route import Caller
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import RequestId
from idds.services.tasks import JobStatus, TaskStatus, read_status


async def list_messages(call: Call) -> web.StreamResponse:
    number = call.number("request")
    found = await call.doors.tasks.asked(
        call.principal, request=None if number is None else RequestId(number), workload_id=call.number("workload")
    )

    async def bodies() -> AsyncGenerator[list[bytes]]:
        for asked in reversed(found):
            async with aclosing(call.doors.tasks.messages(call.principal, asked.request.id)) as pages:
                async for page in pages:
                    yield page

    return await send_list(call, bodies())


async def take_messages(call: Call) -> Any:
    """All of them are read before the first is taken; what was said before changes nothing when it is said again."""
    if not isinstance(call.body, list):
        raise InvalidInput([Problem("", "this has to be a list of messages")])
    for said in [_read(number, message) for number, message in enumerate(call.body)]:
        await call.doors.tasks.take_in(call.principal, said)
    return {"status": 0, "message": f"{len(call.body)} messages were taken"}


def _read(number: int, message: Any) -> JobStatus | TaskStatus:
    try:
        said = read_status(msgspec.json.encode(message))
    except msgspec.MsgspecError as error:
        raise InvalidInput([Problem(f"/{number}", str(error))]) from None
    if said is None:
        raise NotTaken(f"/{number}: only messages of the types job_status and task_status are taken")
    return said


_OF = "/idds/message/{request}/{workload}/{transform}/{internal}"
ROUTES = (
    FacadeRoute("GET", _OF, "iddsListMessages", Caller.READER, list_messages),
    FacadeRoute("POST", _OF, "iddsTakeMessages", Caller.WFMS, take_messages, reads_body=True),
)
