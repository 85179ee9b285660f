"""What others wrote and is served or used here: unchanged, with its licence, and nothing besides."""

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "idds" / "web" / "assets" / "vendor", ROOT / "tests" / "browser" / "vendor")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parts[-3])
def test_every_file_is_the_one_of_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    del found["manifest.json"]
    assert found == {name: entry["sha256"] for name, entry in manifest.items()}
    licensed = {entry["package"] for name, entry in manifest.items() if ".LICENSE" in name}
    assert licensed == {entry["package"] for entry in manifest.values()}
    for entry in manifest.values():
        assert entry["version"][0].isdigit()
        assert entry["license"] in ("0BSD", "MIT", "MPL-2.0")
