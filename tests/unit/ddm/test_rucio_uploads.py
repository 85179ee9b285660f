"""Uploads to Rucio that meet what an attempt before has left."""

from pathlib import Path
from typing import Any, cast
from zlib import adler32

import pytest
from rucio.client import Client
from rucio.common.exception import FileReplicaAlreadyExists
from rucio.rse import rsemanager

from idds.ddm.rucio.uploads import _upload
from idds.domain.files import Upload
from idds.domain.identifiers import Did


class Rucio:
    """What the uploader asks of Rucio's client; the replica is registered already, and not told of yet."""

    auth_token = ""

    def __init__(self) -> None:
        self.attached: list[dict[str, str]] = []

    def get_metadata_bulk(self, _names: list[dict[str, str]]) -> list[dict[str, Any]]:
        return []

    def get_rse(self, rse: str) -> dict[str, str]:
        return {"rse": rse}

    def add_replicas(self, _rse: str, _files: list[dict[str, Any]]) -> None:
        raise FileReplicaAlreadyExists

    def add_dataset(self, _scope: str, _name: str) -> None: ...

    def add_replication_rule(self, _names: list[dict[str, str]], *_copies: Any, **_terms: Any) -> None: ...

    def attach_dids(self, _scope: str, _name: str, names: list[dict[str, str]]) -> None:
        self.attached += names


def test_a_file_that_is_there_already_comes_into_its_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsemanager, "upload", lambda *_order, **_terms: {0: True})
    path = tmp_path / "f"
    path.write_bytes(b"output")
    file = Upload(Did("s", "f"), str(path), 6, f"{adler32(b'output'):08x}")
    rucio = Rucio()
    assert _upload(cast("Client", rucio), "DISK", Did("s", "outputs"), file) is None
    assert rucio.attached == [{"scope": "s", "name": "f"}]
