import pytest

from idds.testing.bus_contract import DurableBusContract
from idds.testing.memory_bus import MemoryBroker, MemoryBus, matches


class MemoryBrokerUnderTest:
    def __init__(self) -> None:
        self.broker = MemoryBroker()

    async def bus(self, client_id: str) -> MemoryBus:
        return self.broker.bus(client_id)

    async def stop(self) -> None:
        self.broker.stop()

    async def start(self) -> None:
        self.broker.start()


class TestMemoryBus(DurableBusContract):
    @pytest.fixture
    def broker(self) -> MemoryBrokerUnderTest:
        return MemoryBrokerUnderTest()


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("+/b/#", "a/c", False),
    ],
)
def test_filters(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected
