"""The stream of events, as somebody who listens has it."""

from tests.integration.api import api_on
from tests.integration.listening import listening


async def test_what_happens_is_told_as_it_happens(database_url: str) -> None:
    async with api_on(database_url) as api, listening(api) as stream:
        request = await api.submit()
        moves = (await api.get(f"/v1/requests/{request}/history"))["moves"]
        told = await stream.take(len(moves))
        assert [each.kind for each in told] == ["move"] * len(moves)
        assert [each.id for each in told] == [move["id"] for move in moves]
        expected = [
            {name: value for name, value in (move | {"request": request}).items() if name != "ids"} for move in moves
        ]
        assert [each.document for each in told] == expected
