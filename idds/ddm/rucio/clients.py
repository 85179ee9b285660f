"""Rucio's client, which is synchronous, in threads of our own: one client a thread, for it replaces its session."""

import asyncio
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from idds.ddm.rucio.options import RucioOptions
from idds.ddm.rucio.tokens import connect
from idds.domain.errors import Unavailable

if TYPE_CHECKING:
    from rucio.client import Client

R = TypeVar("R")
T = TypeVar("T")
SILENT = logging.Logger("rucio", logging.CRITICAL)
"""Rucio's client writes three lines for each call that found nobody, and raises an error that says the same."""


class Broke(Unavailable):
    """Rucio's server broke on this call. It does where two meet on a rule that is just being ended."""


class Clients:
    """`run` calls in a thread with that thread's client. What says "not now" becomes Unavailable; all else passes."""

    def __init__(self, options: RucioOptions) -> None:
        _configure()
        self._options = options
        self._threads = ThreadPoolExecutor(options.threads, "rucio")
        # Many calls for many files leave a thread to whoever wants to know where one is.
        self._many = asyncio.Semaphore(max(1, options.threads - 1))
        self._local = threading.local()
        self._tokens = Path(tempfile.mkdtemp(prefix="idds-rucio-"))
        self._made: list[Client] = []

    async def run(self, work: Callable[["Client"], R]) -> R:
        """What `work` returns. Raises Unavailable, and Rucio's other errors as they are."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    async def run_each(self, work: Callable[["Client", T], R], things: Iterable[T]) -> list[R]:
        """`work` for each of the things, one less at once than there are threads; in order.

        Raises when all have ended.
        """

        async def one(thing: T) -> R:
            async with self._many:
                return await self.run(lambda client: work(client, thing))

        done = await asyncio.gather(*map(one, things), return_exceptions=True)
        results: list[R] = []
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
            results.append(outcome)
        return results

    async def stop(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        for client in self._made:
            client.session.close()
        await asyncio.to_thread(shutil.rmtree, self._tokens, ignore_errors=True)

    def _run(self, work: Callable[["Client"], R]) -> R:
        import requests
        from rucio.common import exception as rucio

        busy = (
            rucio.ServiceUnavailable,
            rucio.ServerConnectionException,
            rucio.ResourceTemporaryUnavailable,
        )
        try:
            return work(self._client())
        except (requests.RequestException, *busy) as error:
            raise Unavailable(f"Rucio does not take this for now: {first_line(error)}") from error
        except (rucio.CannotAuthenticate, rucio.NoAuthInformation) as error:
            self._local.client = None
            raise Unavailable(f"Rucio does not know us: {first_line(error)}") from error
        except rucio.RucioException as error:
            # The bare class is what the client makes of an answer that tells nothing.
            if type(error) in (rucio.RucioException, rucio.DatabaseException):
                raise Broke(f"Rucio breaks on this: {first_line(error)}") from error
            raise

    def _client(self) -> "Client":
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect()
            self._made.append(client)
        return client

    def _connect(self) -> "Client":
        options = self._options
        credentials: dict[str, Any] = {}
        if options.auth_type == "userpass":
            assert options.password_file is not None
            credentials = {"username": options.username, "password": _secret(options.password_file)}
        elif options.auth_type == "x509_proxy":
            credentials = {"client_proxy": str(options.x509_proxy)}
        return connect(
            self._tokens,
            options.token_file,
            rucio_host=options.url,
            auth_host=options.auth_url or options.url,
            account=options.account,
            auth_type=options.auth_type,
            creds=credentials,
            ca_cert=str(options.ca_cert) if options.ca_cert else None,
            timeout=int(options.timeout_s),
            user_agent="idds",
            vo=options.vo,
            logger=SILENT,
        )


def _configure() -> None:
    """Parts of Rucio's client read a configuration file, and break where there is none."""
    from rucio.common.config import get_config_dirs

    files = [Path(folder) / "rucio.cfg" for folder in get_config_dirs()]
    if "RUCIO_CONFIG" not in os.environ and not any(file.exists() for file in files):
        os.environ["RUCIO_CONFIG"] = str(Path(__file__).with_name("rucio.cfg"))


def _secret(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Unavailable(f"the password file cannot be read: {error.strerror}") from None


def first_line(error: Exception) -> str:
    """What a person is told of an error of Rucio's."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def chunks(things: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """Runs of `size` at most."""
    return (things[start : start + size] for start in range(0, len(things), size))
