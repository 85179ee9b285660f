"""The client of the service's HTTP API.

    async with Client("https://idds.example.org", token_file="~/.idds-token") as client:
        request = await client.submit(workflow)
        request = await client.wait(request.id)

Every method raises `idds.domain.errors.IddsError`: InvalidInput with the places that are wrong, NotFound, Conflict,
Unauthenticated, Forbidden, Unavailable (asking again later makes sense; `idds.sdk.errors.Unreachable` when nobody
answers at all), or `idds.sdk.errors.Broken` for an answer that makes no sense.
"""

import os
import socket
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from idds.sdk.carousel import CarouselCalls
from idds.sdk.connection import find_connection
from idds.sdk.contents import ContentCalls
from idds.sdk.exchange import Exchange
from idds.sdk.operations import OperationCalls
from idds.sdk.requests import RequestCalls
from idds.sdk.studies import StudyCalls
from idds.sdk.tokens import TokenCalls
from idds.sdk.watching import WatchingCalls


class Client(RequestCalls, ContentCalls, StudyCalls, TokenCalls, OperationCalls, CarouselCalls, WatchingCalls):
    """To be used in an `async with` block, by any number of tasks of one event loop.

    What is not given is taken from the environment: IDDS_URL, IDDS_TOKEN, IDDS_TOKEN_FILE. Raises InvalidInput for a
    URL or token file that is no good. A call takes `timeout_s` at most. Calls that do the same when made twice are made
    again, for up to `patience_s`, while the service is away or says that it is busy: all but `lease`, `new_token` and
    `payload_token`, which are made again only when they certainly were not carried out.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        token_file: Path | str | None = None,
        timeout_s: float = 60.0,
        patience_s: float = 30.0,
    ) -> None:
        connection = find_connection(url, token, token_file)
        super().__init__(Exchange(connection, timeout_s=timeout_s, patience_s=patience_s), patience_s=patience_s)
        self.url = connection.url
        self.lessee = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.close()
