"""Listening on MQTT, as a service outside does."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds.bus.mqtt import MqttBus, MqttOptions
from idds.cli.demonstration.record import Record
from idds.domain.statuses import Status

HELLO = "idds-demo/hello"
TOPICS = ("idds/+/contents/+", "idds/+/requests/+", HELLO)
HELLO_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Announced:
    """That one message told that a content has a status."""

    message: str
    work: str
    status: str
    content: int
    attempt: int
    name: str


class Listener:
    """Writes down what it hears, and acknowledges it then. `ended` is set when a request's end was heard."""

    def __init__(self, url: str, password_file: Path, record: Record) -> None:
        options = MqttOptions(url=url, client_id="idds-demo", username="idds", password_file=str(password_file))
        self._bus = MqttBus(options)
        self._record = record
        self._hears = asyncio.Event()
        self.ended = asyncio.Event()
        if any(map(_is_end, record)):
            self.ended.set()

    async def listen(self) -> None:
        """Until cancelled. What comes twice is written down twice: it carries the same message id."""
        async with aclosing(self._bus.consume(TOPICS)) as deliveries:
            async for delivery in deliveries:
                if delivery.topic == HELLO:
                    self._hears.set()
                else:
                    self._take(json.loads(delivery.body))
                await delivery.ack()

    async def hears(self) -> None:
        """Return when it is subscribed: it hears a message of its own."""
        await self._bus.start()
        try:
            while not self._hears.is_set():
                await self._bus.publish([(HELLO, b"")])
                with suppress(TimeoutError):
                    async with asyncio.timeout(HELLO_EVERY_S):
                        await self._hears.wait()
        finally:
            await self._bus.stop()

    def _take(self, message: dict[str, Any]) -> None:
        contents = [[each["id"], each["attempt"], each["name"]] for each in message.get("contents", ())]
        entry = {"id": message["id"], "type": message["type"], "work": message.get("work", ""), "contents": contents}
        self._record.add(entry)
        if _is_end(entry):
            self.ended.set()


def _is_end(entry: Mapping[str, Any]) -> bool:
    kind, _, status = entry["type"].partition(".")
    return kind == "request" and Status(status).is_terminal


def announced(record: Record) -> Sequence[Announced]:
    """What was told of contents, each message once."""
    messages = {entry["id"]: entry for entry in record if entry["type"].startswith("contents.")}
    return [
        Announced(message, entry["work"], entry["type"].removeprefix("contents."), content, attempt, name)
        for message, entry in messages.items()
        for content, attempt, name in entry["contents"]
    ]
