"""Real ROOT files: the samples in the tests of coffea's source distribution on PyPI."""

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path, PurePosixPath

REQUIREMENT = "coffea==2026.9.0"


def sample_files(scratch: Path) -> dict[str, bytes]:
    """Every sample by its name. The archive is fetched once, into the folder IDDS_TEST_CACHE or the user's cache."""
    files = {}
    with tarfile.open(_archive(scratch)) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.match("tests/samples/*.root") and (file := archive.extractfile(member)) is not None:
                files[path.name] = file.read()
    return files


def _archive(scratch: Path) -> Path:
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "idds-tests"
    cache = Path(os.environ.get("IDDS_TEST_CACHE") or own)
    archive = cache / f"{REQUIREMENT.replace('==', '-')}.tar.gz"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _fetch(scratch).replace(archive)
    return archive


def _fetch(scratch: Path) -> Path:
    """By a pip of its own, for an environment made by uv has none; it asks the index that this machine tells it to.

    pip has the distribution say its metadata on the way, but builds and installs nothing.
    """
    environment, downloads = scratch / "pip", scratch / "downloads"
    venv.create(environment, with_pip=True)
    command = [environment / "bin" / "python", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", "coffea", "--dest", downloads, REQUIREMENT]
    subprocess.run(command, check=True, stdout=sys.stderr)
    (archive,) = downloads.glob("coffea-*.tar.gz")
    return archive
