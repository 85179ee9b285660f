"""The payload's file on the wire: what it makes of a service that is away, busy, or something else."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from idds.sdk import study as sdk
from idds.sdk.study import Away, Refused, Study


class Door:
    """One end of HTTP: says `answers` to whoever connects, one for each connection."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked: list[bytes] = []

    def serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._listening.accept()
            with connection:
                self.asked.append(connection.recv(65536))
                connection.sendall(answer)

    def close(self) -> None:
        self._listening.close()


@contextmanager
def door(*answers: bytes) -> Iterator[Door]:
    opened = Door(*answers)
    serving = threading.Thread(target=opened.serve)
    serving.start()
    try:
        yield opened
        serving.join(30)
        assert not serving.is_alive()
    finally:
        opened.close()


def http(status: str, document: Any = None, *headers: str) -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Clock:
    """Sleeping takes no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        monkeypatch.setattr(sdk.time, "sleep", self.slept.append)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        http("503 Service Unavailable", {"detail": "busy"}),
        http("502 Bad Gateway"),
        http("429 Too Many Requests", {"detail": "too many"}, "Retry-After: 7"),
    ],
)
def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, bad: bytes) -> None:
    clock = Clock(monkeypatch)
    with door(bad, http("200 OK", {"collection": 7})) as service:
        assert Study(service.url, "secret").id == 7
    assert len(clock.slept) == 1
    assert clock.slept[0] >= (7 if b"Retry-After" in bad else 0.1)
    assert b"Bearer secret" in service.asked[1]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (http("401 Unauthorized", {"detail": "this token is not known"}), "this token is not known"),
        (http("400 Bad Request", {"problems": [{"pointer": "/x", "message": "odd"}]}), "/x: odd"),
        (http("302 Found", None, "Location: http://127.0.0.1:9/elsewhere"), "the answer was 302"),
        (http("200 OK", [1]), "does not speak"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{", "does not speak"),
        (http("500 Oops", [1]), "the answer was 500"),
    ],
)
def test_what_will_not_pass_is_said(bad: bytes, message: str) -> None:
    with door(bad) as service, pytest.raises(Refused, match=message) as caught:
        Study(service.url, "secret")
    assert "secret" not in str(caught.value)


def test_a_service_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    with door() as service:
        pass
    with pytest.raises(Away, match="cannot be reached"):
        Study(service.url, "secret", patience=0)
