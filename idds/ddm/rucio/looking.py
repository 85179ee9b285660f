"""Looking on, without changing anything: which files of a dataset are on an RSE."""

from typing import TYPE_CHECKING, Self

from idds.ddm.rucio.clients import Clients
from idds.ddm.rucio.options import RucioOptions
from idds.domain.errors import InvalidInput, Problem, UnknownDid
from idds.domain.identifiers import Did

if TYPE_CHECKING:
    from rucio.client import Client


class Onlooker:
    """Asks Rucio with GET and listing calls only; whoever else stages or deletes does not notice."""

    def __init__(self, options: RucioOptions) -> None:
        self._clients = Clients(options)

    async def __aenter__(self) -> Self:
        """Raises Unavailable when Rucio does not answer or does not know us."""
        try:
            await self._clients.run(lambda client: client.whoami())
        except BaseException:
            await self._clients.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.stop()

    async def files(self, dataset: Did) -> int:
        """How many files are in the dataset now. Raises UnknownDid and Unavailable."""
        return await self._clients.run(lambda client: _files(client, dataset))

    async def on_disk(self, rse: str, dataset: Did) -> dict[Did, int]:
        """Its files that are complete on the RSE, and their bytes: one call, however many. Raises Unavailable."""
        return await self._clients.run(lambda client: _on_disk(client, rse, dataset))


def _files(client: "Client", dataset: Did) -> int:
    from rucio.common.exception import DataIdentifierNotFound

    try:
        return sum(1 for _ in client.list_files(dataset.scope, dataset.name))
    except DataIdentifierNotFound:
        raise UnknownDid(f"{dataset} is not known to Rucio") from None


def _on_disk(client: "Client", rse: str, dataset: Did) -> dict[Did, int]:
    from rucio.common.exception import InvalidRSEExpression

    dids = [{"scope": dataset.scope, "name": dataset.name}]
    try:
        rows = list(client.list_replicas(dids, rse_expression=rse, all_states=True, resolve_archives=False))
    except InvalidRSEExpression:
        raise InvalidInput([Problem("/rse", f"{rse!r} names no RSE of this Rucio")]) from None
    return {
        Did(row["scope"], row["name"]): row["bytes"] for row in rows if row.get("states", {}).get(rse) == "AVAILABLE"
    }
