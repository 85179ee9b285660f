"""Tokens of Rucio's client: each RucioDDM has its own, and those of an identity provider may change at any time."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from idds.ddm.rucio import RucioDDM
from idds.domain.errors import Unavailable


class Rucio(BaseHTTPRequestHandler):
    """Knows who calls by a token that it takes for good."""

    good = "first"
    shown: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        token = self.headers.get("X-Rucio-Auth-Token", "")
        self.shown.append(token)
        is_good = token == self.good
        body = json.dumps({"account": "idds"}).encode() if is_good else b"{}"
        self.send_response(200 if is_good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    Rucio.good, Rucio.shown = "first", []
    server = HTTPServer(("127.0.0.1", 0), Rucio)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def bearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "bearer"
    file.write_text("first\n")
    return file


def ddm_of(url: str, bearer: Path) -> RucioDDM:
    terms = {"url": url, "account": "idds", "instance": "test", "auth_type": "oidc", "threads": 1}
    return RucioDDM.from_options({**terms, "token_file": bearer})


async def test_a_token_that_has_changed_is_read_again_when_the_old_one_is_refused(url: str, bearer: Path) -> None:
    ddm = ddm_of(url, bearer)
    try:
        await ddm.start()
        Rucio.good = "second"
        bearer.write_text("second")
        await ddm.start()
        assert Rucio.shown == ["first", "first", "second"]
        assert bearer.read_text() == "second"
    finally:
        await ddm.stop()


async def test_who_has_no_good_token_is_told_and_may_get_one(url: str, bearer: Path) -> None:
    ddm = ddm_of(url, bearer)
    try:
        bearer.unlink()
        with pytest.raises(Unavailable, match="does not know us"):
            await ddm.start()
        bearer.write_text("first")
        await ddm.start()
    finally:
        await ddm.stop()


async def test_two_keep_their_tokens_apart(url: str, bearer: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("other")
    one, two = ddm_of(url, bearer), ddm_of(url, other)
    try:
        await one.start()
        with pytest.raises(Unavailable):
            await two.start()
        assert Rucio.shown[0] == "first"
        assert set(Rucio.shown[1:]) == {"other"}
    finally:
        await one.stop()
        await two.stop()
