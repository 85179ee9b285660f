"""Datasets and containers, page by page: Rucio lists a dataset as a whole, and pages are cut from that."""

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

from idds.ddm.rucio.clients import Clients
from idds.domain.errors import InvalidInput, Problem, UnknownDid
from idds.domain.files import File, FilePage
from idds.domain.identifiers import Did

if TYPE_CHECKING:
    from rucio.client import Client

KEPT = 4


class Listing:
    """Files in the order of their names. A few datasets that are being paged through are kept, sorted, in memory."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._kept: OrderedDict[Did, tuple[list[File], bool]] = OrderedDict()

    async def page(self, dataset: Did, after: str | None, limit: int) -> FilePage:
        """The files behind `after`. Raises UnknownDid, and InvalidInput for a cursor that is none.

        A dataset that has grown since the cursor was given is told from its beginning: what came may stand anywhere.
        """
        number, last = _parse(after)
        files, is_open = await self._read(dataset, fresh=after is None)
        if after is not None and (is_open or bisect_right(files, last, key=_key) >= len(files)):
            files, is_open = await self._read(dataset, fresh=True)
        start = bisect_right(files, last, key=_key) if len(files) == number else 0
        page = tuple(files[start : start + limit])
        if start + limit < len(files):
            return FilePage(page, f"{len(files)}/{page[-1].did}", is_open)
        self._kept.pop(dataset, None)
        return FilePage(page, None, is_open)

    async def _read(self, dataset: Did, *, fresh: bool) -> tuple[list[File], bool]:
        if not fresh and dataset in self._kept:
            self._kept.move_to_end(dataset)
            return self._kept[dataset]
        found = self._kept[dataset] = await self._clients.run(lambda client: _whole(client, dataset))
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found


def _whole(client: "Client", dataset: Did) -> tuple[list[File], bool]:
    from rucio.common.exception import DataIdentifierNotFound, UnsupportedOperation

    try:
        # Before the files: what is attached between the two is then found by looking again.
        is_open = bool(client.get_did(dataset.scope, dataset.name).get("open"))
        files = [
            File(Did(each["scope"], each["name"]), each["bytes"], each["adler32"], each.get("events"))
            for each in client.list_files(dataset.scope, dataset.name)
        ]
    except (DataIdentifierNotFound, UnsupportedOperation):
        raise UnknownDid(f"{dataset} is not known to Rucio") from None
    return sorted(files, key=_key), is_open


def _key(file: File) -> Did:
    return file.did


def _parse(after: str | None) -> tuple[int, Did]:
    """How many files there were, and the last that was told."""
    if after is None:
        return 0, Did("", "")
    number, _, last = after.partition("/")
    try:
        return int(number), Did.parse(last)
    except ValueError:
        raise InvalidInput([Problem("/after", "this is no cursor of a listing")]) from None
