"""Logins that are kept for the next time: a file for each service, which only its owner reads."""

import asyncio
import fcntl
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from idds.domain.errors import InvalidInput, Problem, Unauthenticated, Unavailable
from idds.sdk.login import Login, refresh

EARLY_S = 60.0
"""A token that ends so soon is not begun with."""


class Logins:
    """Those of a folder, one for each URL of a service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, url: str) -> Path:
        """Where the login at this service is kept."""
        return self._folder / (re.sub(r"[^A-Za-z0-9.-]+", "_", url) + ".json")

    def keep(self, url: str, login: Login) -> None:
        """Write it, whole or not at all. Raises InvalidInput where that cannot be."""
        path = self.path(url)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({"url": url, **asdict(login)}, file)
            fresh.replace(path)
        except OSError as error:
            raise InvalidInput([Problem("", f"the login cannot be kept in {path}: {error.strerror}")]) from None

    def find(self, url: str) -> Login | None:
        """The login at this service. Raises InvalidInput for a file that cannot be read."""
        path = self.path(url)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return Login(**kept) if kept.pop("url") == url else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise InvalidInput([Problem("", f"{path} cannot be read; log in anew with: idds login")]) from None

    async def forget(self, url: str) -> Login | None:
        """Keep the login at this service no longer; what it was. Raises InvalidInput where that cannot be."""
        if self.find(url) is None:
            return None
        # Whoever refreshes it just now would keep it again.
        async with self._lock(url):
            login = self.find(url)
            try:
                self.path(url).unlink(missing_ok=True)
            except OSError as error:
                raise InvalidInput([Problem("", f"{self.path(url)} cannot be removed: {error.strerror}")]) from None
            return login

    async def token(self, url: str) -> str | None:
        """A token that is good now, refreshed where it must be; None where nobody has logged in.

        Raises Unauthenticated when the login has ended.
        """
        login = self.find(url)
        if login is None or not _is_ending(login):
            return None if login is None else login.access_token
        async with self._lock(url):
            # Another process may have done it meanwhile: a token to refresh with may be good for once.
            login = self.find(url) or login
            if _is_ending(login):
                login = await self._refreshed(url, login)
            return login.access_token

    async def _refreshed(self, url: str, login: Login) -> Login:
        if login.refresh_token is None and not _is_over(login):
            return login
        try:
            fresh = await refresh(login)
        except Unauthenticated as error:
            raise Unauthenticated(f"{error}; log in anew with: idds login") from None
        except Unavailable:
            if _is_over(login):
                raise
            return login
        self.keep(url, fresh)
        return fresh

    @asynccontextmanager
    async def _lock(self, url: str) -> AsyncIterator[None]:
        with self.path(url).with_suffix(".lock").open("w") as file:
            await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
            yield


def _is_ending(login: Login) -> bool:
    return login.expires_at is not None and login.expires_at - EARLY_S < time.time()


def _is_over(login: Login) -> bool:
    return login.expires_at is not None and login.expires_at < time.time()
