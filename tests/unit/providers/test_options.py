from pathlib import Path
from typing import Any

import pytest

from idds.domain.errors import InvalidInput
from idds.providers.local import LocalOptions, LocalProvider
from idds.providers.local.options import cores


def test_defaults(tmp_path: Path) -> None:
    assert LocalOptions.from_mapping({"root": str(tmp_path)}) == LocalOptions(root=tmp_path, slots=cores(), grace_s=5.0)


def test_all_options(tmp_path: Path) -> None:
    options = LocalOptions.from_mapping({"root": tmp_path / "x" / ".." / "jobs", "slots": 3, "grace_s": 0})
    assert options == LocalOptions(root=tmp_path / "jobs", slots=3, grace_s=0.0)


@pytest.mark.parametrize(
    ("options", "pointers"),
    [
        ({}, ["/root"]),
        ({"root": ""}, ["/root"]),
        ({"root": "a\0b"}, ["/root"]),
        ({"root": 3}, ["/root"]),
        ({"root": "jobs", "slots": 0}, ["/slots"]),
        ({"root": "jobs", "slots": True}, ["/slots"]),
        ({"root": "jobs", "slots": 1.5}, ["/slots"]),
        ({"root": "jobs", "grace_s": -1}, ["/grace_s"]),
        ({"root": "jobs", "grace_s": "5"}, ["/grace_s"]),
        ({"root": "jobs", "grace_s": float("nan")}, ["/grace_s"]),
        ({"slot": 3, "grace_s": 1e9}, ["/slot", "/root", "/grace_s"]),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        LocalProvider.from_options(options)
    assert [problem.pointer for problem in caught.value.problems] == pointers
