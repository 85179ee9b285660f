"""What JEDI does with the messages on its files, as its message processors do it, and what PanDA says of its jobs."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiomqtt

Ready = Callable[[Sequence[dict[str, Any]]], Awaitable[None]]


class Jedi:
    """Listens for one task until its dataset is told closed. What is released is counted by (scope, name)."""

    def __init__(self, mqtt: aiomqtt.Client, vo: str, workload_id: int) -> None:
        self._mqtt = mqtt
        self._vo = vo
        self.workload_id = workload_id
        self.released: Counter[tuple[str, str]] = Counter()
        self.closed: list[tuple[str, str]] = []

    async def subscribe(self) -> None:
        await self._mqtt.subscribe(f"idds/{self._vo}/jedi", qos=1)

    async def listen(self, ready: Ready) -> None:
        """Have files that are released processed, until the dataset is closed."""
        async for message in self._mqtt.messages:
            body = json.loads(bytes(message.payload))  # type: ignore[arg-type]
            if int(body["workload_id"]) != self.workload_id or body.get("relation_type") != "output":
                continue
            if body["msg_type"] == "file_stagein":
                files = [file for file in body["files"] if file["status"] == "Available"]
                assert not self.closed, "a file is told after its dataset was"
                self.released.update((file["scope"], file["name"]) for file in files)
                await ready(files)
            elif body["msg_type"] == "collection_stagein":
                closed = [each for each in body["collections"] if each["status"] == "Closed"]
                self.closed += [(each["scope"], each["name"]) for each in closed]
                return

    async def say_processed(self, names: Sequence[str], status: str = "finished") -> None:
        """As PanDA pushes it when a job has ended."""
        await self._say(
            {
                "computingsite": "SITE",
                "inputs": list(names),
                "piloterrorcode": 0,
                "msg_type": "job_status",
                "jobid": 6000001,
                "taskid": self.workload_id,
                "status": status,
                "timestamp": 1700000000,
            }
        )

    async def say_ended(self, status: str) -> None:
        """As JEDI pushes it when a task's status changes."""
        body = {"msg_type": "task_status", "taskid": self.workload_id, "status": status, "timestamp": 1700000000}
        await self._say(body)

    async def say_nonsense(self) -> None:
        """As a broker with many clients carries it, too."""
        for payload in (b"", b"\xff", b"[]", b'{"msg_type": "other"}', b'{"msg_type": "task_status", "taskid": "x"}'):
            await self._mqtt.publish(f"idds/{self._vo}/jedi/reports", payload, qos=1)
        await self._say({"msg_type": "job_status", "taskid": 2**64, "status": "finished", "inputs": ["a"]})
        await self._say({"msg_type": "job_status", "taskid": self.workload_id, "status": "finished", "inputs": ["\0"]})

    async def _say(self, body: dict[str, Any]) -> None:
        await self._mqtt.publish(f"idds/{self._vo}/jedi/reports", json.dumps(body), qos=1)
