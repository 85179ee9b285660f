"""The demo's folder: never somebody else's, and in order after a kill at any point."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from idds.cli.demonstration.plan import Folder, Plan
from idds.domain.errors import Conflict, InvalidInput

PLAN = Plan(key="k1", files=40, bytes=1000, window_bytes=100, recall_s=1.0, workflow={"name": "digits"})


def test_a_plan_is_kept_until_its_run_has_ended(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "demo")
    with folder.held():
        assert folder.unfinished() is None
        folder.begin(PLAN)
        assert folder.unfinished() == PLAN
        folder.end({"lost": []})
        assert folder.unfinished() is None


def test_beginning_wipes_what_was_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "demo")
    with folder.held():
        folder.begin(PLAN)
        folder.disk.mkdir(parents=True)
        folder.runs.add({"started": 1})
        folder.end({})
        folder.begin(replace(PLAN, key="k2"))
        assert not folder.state.exists()
        assert list(folder.runs) == []
        found = folder.unfinished()
    assert found is not None
    assert found.key == "k2"


def test_killed_while_it_wipes_it_wipes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "demo")
    with folder.held():
        folder.begin(PLAN)
        folder.disk.mkdir(parents=True)
        folder.end({})
        monkeypatch.setattr(shutil, "rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            folder.begin(replace(PLAN, key="k2"))
        assert folder.unfinished() is None, "it must not go on with what is half gone"


@pytest.mark.parametrize("name", ["thesis.tex", "state"])
def test_a_folder_that_is_no_demos_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InvalidInput, match="something else"), Folder(tmp_path).held():
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    with Folder(tmp_path).held(), pytest.raises(Conflict), Folder(tmp_path).held():
        pass
