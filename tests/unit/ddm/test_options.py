from pathlib import Path
from typing import Any

import pytest

from idds.ddm.posix import PosixDDM
from idds.ddm.posix.options import Disk, PosixOptions, Tape
from idds.domain.errors import InvalidInput


def test_options_of_a_site() -> None:
    options = PosixOptions.parse(
        {"root": "/data", "rses": {"D": {"kind": "disk"}, "T": {"kind": "tape", "drives": 3, "mount_s": 0.5}}}
    )
    assert options.root == Path("/data")
    assert options.rses == {"D": Disk(), "T": Tape(drives=3, mount_s=0.5)}
    assert (options.disks, list(options.tapes)) == (("D",), ["T"])


@pytest.mark.parametrize(
    ("options", "pointers"),
    [
        ({}, ["/root", "/rses"]),
        ({"root": "/data", "rses": {}}, ["/rses"]),
        ({"root": "/data", "rses": {"D": {"kind": "disk"}}, "roof": 1}, ["/roof"]),
        ({"root": "/data", "rses": {"D": {}}}, ["/rses/D"]),
        ({"root": "/data", "rses": {"D": {"kind": "cloud"}}}, ["/rses/D"]),
        ({"root": "/data", "rses": {"D": {"kind": "disk", "drives": 1}}}, ["/rses/D/drives"]),
        (
            {"root": "/data", "rses": {"T": {"kind": "tape", "drives": 0, "seek_s": -1}}},
            ["/rses/T/drives", "/rses/T/seek_s"],
        ),
        ({"root": "/data", "rses": {"T": {"kind": "tape", "mount_s": float("nan")}}}, ["/rses/T/mount_s"]),
        ({"root": "/data", "rses": {"../D": {"kind": "disk"}}}, ["/rses/..~1D"]),
        ({"root": "/data", "rses": {"catalogue.sqlite": {"kind": "disk"}}}, ["/rses/catalogue.sqlite"]),
    ],
)
def test_every_wrong_place_is_named(options: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        PosixDDM.from_options(options)
    assert [problem.pointer for problem in raised.value.problems] == pointers
