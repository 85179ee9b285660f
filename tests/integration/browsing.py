"""A browser as far as HTTP goes: it keeps its cookie, follows nothing by itself, and reads what a page holds."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from aiohttp import ClientResponse

from idds.api.authentication import SESSION
from tests.integration.api import Api

_VOID = {"meta", "link", "br", "input"}


class Reading(HTMLParser):
    """What stands in a page; it must be well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str, attribute: str) -> list[str]:
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]

    @property
    def fields(self) -> dict[str, str]:
        """The fields of its forms, by name."""
        return {a["name"]: a.get("value", "") for name, a in self.tags if name == "input" and "name" in a}


@dataclass(frozen=True)
class Shown:
    status: int
    headers: Any
    text: str
    cookies: Any

    @property
    def reading(self) -> Reading:
        return Reading(self.text)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", self.reading.words)


class Browser:
    """One that nobody is logged in with."""

    def __init__(self, api: Api) -> None:
        self._client = api.client
        self.cookie = ""

    async def get(self, path: str, **headers: str) -> Shown:
        async with self._client.get(path, headers=self._headers(headers), allow_redirects=False) as response:
            return await self._shown(response)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Shown:
        given = self._headers(headers)
        async with self._client.post(path, data=fields, headers=given, allow_redirects=False) as response:
            return await self._shown(response)

    async def log_in(self, token: str, **more: str) -> Shown:
        shown = await self.post("/login", {"token": token, **more})
        if shown.status == 303:
            self.cookie = shown.cookies[SESSION].value
        return shown

    async def csrf(self) -> str:
        return (await self.get("/requests")).reading.fields["csrf"]

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        return {**headers, **({"Cookie": f"{SESSION}={self.cookie}"} if self.cookie else {})}

    async def _shown(self, response: ClientResponse) -> Shown:
        # Kept by hand, so that a test sees what it sends.
        self._client.session.cookie_jar.clear()
        return Shown(response.status, response.headers, await response.text(), response.cookies)
