"""Putting files on an RSE by its own protocol, and into a dataset."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import adler32

from idds.ddm.rucio.clients import Clients
from idds.ddm.rucio.rules import OUTPUTS
from idds.domain.errors import Unavailable
from idds.domain.files import Upload
from idds.domain.identifiers import Did
from idds.ports.ddm import Refused

if TYPE_CHECKING:
    from rucio.client import Client

BLOCK = 2**20
BRIDGE_S = 2 * 86400


class Uploader:
    """Uploads of one RucioDDM."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def upload(self, rse: str, dataset: Did, file: Upload) -> Refused | None:
        """None when it is there; an attempt that broke off is gone on with. Raises Unavailable."""
        return await self._clients.run(lambda client: _upload(client, rse, dataset, file))


def _upload(client: "Client", rse: str, dataset: Did, file: Upload) -> Refused | None:
    from rucio.common import exception as rucio

    if reason := _wrong(file):
        return Refused(reason)
    known = next(iter(client.get_metadata_bulk([asdict(file.did)])), None)
    if known is not None and (known["adler32"], known["bytes"]) != (file.adler32, file.bytes):
        return Refused(f"{file.did} is in the catalogue with other bytes")
    settings = client.get_rse(rse)
    described = {"scope": file.did.scope, "name": file.did.name, "bytes": file.bytes, "adler32": file.adler32}
    try:
        replica = next(iter(client.list_replicas([asdict(file.did)], rse_expression=rse)), None) if known else None
        if replica is None or rse not in replica["rses"]:
            _put(client, settings, file)
            # Also where an attempt before got as far as this: what is in no dataset, nobody keeps.
            with suppress(rucio.FileReplicaAlreadyExists):
                client.add_replicas(rse, [described])
        _attach(client, rse, dataset, file.did)
    except rucio.FileReplicaAlreadyExists:
        pass
    except (rucio.AccessDenied, rucio.ScopeNotFound, rucio.RSENotFound, rucio.UnsupportedOperation) as error:
        return Refused(str(error))
    return None


def _put(client: "Client", settings: Any, file: Upload) -> None:
    from rucio.rse import rsemanager

    path = Path(file.path)
    order: Any = {
        "scope": file.did.scope,
        "name": file.did.name,
        "filename": path.name,
        "filesize": file.bytes,
        "adler32": file.adler32,
    }
    answer = rsemanager.upload(
        settings, order, source_dir=str(path.parent), delete_existing=True, auth_token=client.auth_token
    )
    if isinstance(answer, dict) and answer.get(0) is False:
        raise Unavailable(f"{file.did} could not be put on {settings['rse']}")


def _attach(client: "Client", rse: str, dataset: Did, did: Did) -> None:
    from rucio.common import exception as rucio

    with suppress(rucio.DataIdentifierAlreadyExists):
        client.add_dataset(dataset.scope, dataset.name)
    # Outputs are their owner's, never ours to delete: one rule keeps all that is in the dataset, and until Rucio has
    # come to see what was attached, another one the file.
    for kept, lifetime in ((dataset, None), (did, BRIDGE_S)):
        with suppress(rucio.DuplicateRule):
            client.add_replication_rule([asdict(kept)], 1, rse, lifetime=lifetime, comment=OUTPUTS)
    with suppress(rucio.FileAlreadyExists, rucio.DuplicateContent):
        client.attach_dids(dataset.scope, dataset.name, [asdict(did)])


def _wrong(file: Upload) -> str | None:
    try:
        checksum, size = 1, 0
        with Path(file.path).open("rb") as source:
            while block := source.read(BLOCK):
                checksum, size = adler32(block, checksum), size + len(block)
    except OSError as error:
        return f"{file.did} cannot be read: {error.strerror}"
    if size != file.bytes:
        return f"{file.did} has {size} bytes, not {file.bytes}"
    if f"{checksum:08x}" != file.adler32:
        return f"{file.did} has the checksum {checksum:08x}, not {file.adler32}"
    return None
