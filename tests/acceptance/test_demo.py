"""The demo, run as a newcomer does."""

import json
import urllib.request
from pathlib import Path

import pytest

from idds.cli.exits import Exit
from tests.acceptance.demo_process import DemoFolder, check

SMALL = ("--files", "40", "--recall-s", "2", "--samples", "0")
SAMPLES = 12


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    return DemoFolder(tmp_path / "demo")


def test_the_main_job_on_real_data_keeps_all_its_promises(folder: DemoFolder) -> None:
    with folder.running(*SMALL) as demo:
        summary = demo.finish()
    check(summary, 40)
    assert summary["kills"] == 0
    assert summary["announced_files"] == 40
    assert summary["processings"] == summary["attempts"] == 41
    assert summary["first_file_s"] < summary["dataset_on_disk_s"]
    assert summary["first_result_s"] < summary["dataset_on_disk_s"], "processing waited for the whole dataset"
    assert Path(summary["picture"]).read_bytes().startswith(b"\x89PNG")
    assert folder.processes() == []


def test_payloads_that_know_a_url_and_a_token_tune_a_classifier_on_what_was_delivered(folder: DemoFolder) -> None:
    with folder.running(*SMALL, "--files", "30", "--samples", str(SAMPLES)) as demo:
        summary = demo.finish()
    check(summary, 30)
    tuned, drawn = summary["searches"]
    assert (tuned["sampler"], drawn["sampler"]) == ("tpe", "random")
    for search in (tuned, drawn):
        assert search["done"] == search["reported"] == len(search["accuracies"]) == SAMPLES
        assert all(0 <= accuracy <= 1 for accuracy in search["accuracies"])
        assert search["held_out"] > 0.5, "the best of them tells digits hardly better than chance"
        assert set(search["best"]) >= {"C", "gamma", "blur", "reduce"}
    assert Path(summary["tuning_picture"]).read_bytes().startswith(b"\x89PNG")
    assert (folder.path / "payloads.log").read_text() == ""
    assert folder.processes() == []


def test_after_a_run_that_came_to_its_end_the_next_one_starts_afresh(folder: DemoFolder) -> None:
    with folder.running(*SMALL) as demo:
        demo.finish()
    key = json.loads((folder.path / "demo.json").read_text())["key"]
    with folder.running(*SMALL, "--files", "30") as demo:
        check(demo.finish(), 30)
    assert json.loads((folder.path / "demo.json").read_text())["key"] != key
    assert folder.runs() == 1


def test_a_run_that_was_stopped_is_gone_on_with_and_counts_as_no_kill(folder: DemoFolder) -> None:
    with folder.running(*SMALL) as demo:
        assert demo.until(lambda: folder.entries() > 30)
        demo.process.terminate()
        demo.process.communicate()
        assert demo.process.returncode == Exit.INTERRUPTED
    with folder.running() as demo:
        summary = demo.finish()
    check(summary, 40)
    assert summary["kills"] == 0
    assert folder.runs() == 2


def test_told_to_it_serves_on_until_it_is_stopped(folder: DemoFolder) -> None:
    with folder.running(*SMALL, "--keep-serving") as demo:
        assert demo.until(lambda: "goes on at" in demo.logs.read_text())
        summary = folder.summary()
        assert summary is not None
        with urllib.request.urlopen(f"{summary['url']}/readyz") as answer:
            assert answer.status == 200
        demo.process.terminate()
        check(demo.finish(), 40)


def test_a_folder_that_holds_something_else_is_left_alone(folder: DemoFolder) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("years of work")
    with folder.running(*SMALL) as demo:
        demo.process.communicate()
        assert demo.process.returncode == Exit.REFUSED
        assert str(folder.path) in demo.logs.read_text()
    assert [entry.name for entry in folder.path.iterdir()] == ["thesis.tex"]


def test_a_second_demo_in_the_same_folder_is_refused(folder: DemoFolder) -> None:
    with folder.running(*SMALL) as first:
        assert first.until(lambda: folder.runs() == 1)
        other = DemoFolder(folder.path)
        with other.running() as second:
            second.process.communicate()
            assert second.process.returncode == Exit.CONFLICT
            assert "a demo runs in" in second.logs.read_text()
        check(first.finish(), 40)
