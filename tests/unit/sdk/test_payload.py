"""The payload's side of a job: what it reads, and what the service gets to read."""

import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from idds.sdk import payload


def content(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "attempt": 2,
        "scope": "mc",
        "name": f"f{number}",
        "path": f"/disk/f{number}",
        "bytes": 10,
        "adler32": "0a1b2c3d",
        "min_id": 0,
        "max_id": 0,
        "parameters": None,
    } | fields


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IDDS_INPUT", str(tmp_path / "input.json"))
    monkeypatch.setenv("IDDS_OUTPUT", str(tmp_path / "output.json"))
    write_input(tmp_path, content(7), content(8), content(9))
    return tmp_path


def write_input(folder: Path, *contents: dict[str, Any]) -> None:
    document = {"processing": 12, "attempt": 1, "contents": contents, "outputs": "outputs"}
    (folder / "input.json").write_text(json.dumps(document))


def report(folder: Path) -> Any:
    assert not list(folder.glob(".output*")), "a draft was left behind"
    return json.loads((folder / "output.json").read_text())


def test_a_payload_sees_its_contents(folder: Path) -> None:
    write_input(folder, content(7, parameters={"x": 0.5}, path=None, unknown="to be ignored"))
    with payload.job() as job:
        assert (job.processing_id, job.attempt, len(job)) == (12, 1, 1)
        (sample,) = job
        assert sample == payload.Content(7, 2, "mc", "f7", None, 10, "0a1b2c3d", 0, 0, {"x": 0.5})


def test_one_content_fails_and_the_rest_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with payload.job() as job:
        for item in job:
            with job.processing(item):
                if item.id == 8:
                    raise RuntimeError("bad basket")
    assert report(folder) == {
        "contents": [
            {"id": 7, "status": "done"},
            {"id": 8, "status": "failed", "reason": "RuntimeError: bad basket", "retry": True},
            {"id": 9, "status": "done"},
        ],
        "outputs": [],
        "message": None,
    }
    assert "bad basket" in capsys.readouterr().err, "the log shows the traceback"


def test_a_content_that_need_not_be_tried_again(folder: Path) -> None:
    with payload.job() as job, job.processing(job.contents[0]):
        raise payload.Unprocessable("truncated on tape")
    assert report(folder)["contents"] == [{"id": 7, "status": "failed", "reason": "truncated on tape", "retry": False}]


def test_contents_processed_together_share_their_outcome(folder: Path) -> None:
    with payload.job() as job:
        with job.processing(*job):
            raise ValueError("no overlap")
        with job.processing(job.contents[2]):
            pass
    assert [(item["id"], item["status"]) for item in report(folder)["contents"]] == [
        (7, "failed"),
        (8, "failed"),
        (9, "done"),
    ]


def test_a_reason_is_short(folder: Path) -> None:
    with payload.job() as job, job.processing(job.contents[0]):
        raise RuntimeError("x" * 10_000)
    assert len(report(folder)["contents"][0]["reason"]) == 500


def test_outputs_are_measured(folder: Path) -> None:
    with payload.job() as job:
        job.output("counts.json").write_text("{}")
        job.output("plots/mass.png").write_bytes(b"p" * (payload.BLOCK + 1))
        job.output("never-written")
    assert (folder / "outputs" / "counts.json").read_text() == "{}"
    assert report(folder)["outputs"] == [
        {"name": "counts.json", "bytes": 2, "adler32": f"{zlib.adler32(b'{}'):08x}"},
        {
            "name": "plots/mass.png",
            "bytes": payload.BLOCK + 1,
            "adler32": f"{zlib.adler32(b'p' * (payload.BLOCK + 1)):08x}",
        },
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "a\0b"])
def test_an_output_stays_in_its_folder(folder: Path, name: str) -> None:
    with payload.job() as job, pytest.raises(ValueError, match="is no name of an output"):
        job.output(name)


def test_a_sample_reports_its_objective_values(folder: Path) -> None:
    with payload.job() as job:
        with job.processing(job.contents[0]) as sample:
            sample.report(0.25, 3, constraints=[-1])
        with job.processing(job.contents[1]) as sample:
            sample.report(float("nan"))
    first, second = report(folder)["contents"]
    assert first == {"id": 7, "status": "done", "objective_values": [0.25, 3.0], "constraint_values": [-1.0]}
    assert second == {"id": 8, "status": "failed", "reason": "a value that came out is nan", "retry": False}


def test_a_broken_job_reports_what_was_done(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="calibration"), payload.job() as job:  # noqa: PT012
        with job.processing(job.contents[0]):
            pass
        raise RuntimeError("no calibration")
    assert report(folder) == {
        "contents": [{"id": 7, "status": "done"}],
        "outputs": [],
        "message": "RuntimeError: no calibration",
    }


def test_a_message_of_the_payload_stands(folder: Path) -> None:
    with payload.job() as job:
        job.message = "3 events"
    assert report(folder)["message"] == "3 events"


def test_leaving_the_process_is_no_failure_of_a_content(folder: Path) -> None:
    with pytest.raises(SystemExit), payload.job() as job, job.processing(job.contents[0]):
        sys.exit(3)
    assert report(folder) == {"contents": [], "outputs": [], "message": None}


def test_it_runs_in_the_folder_without_variables(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IDDS_INPUT")
    monkeypatch.delenv("IDDS_OUTPUT")
    monkeypatch.chdir(tmp_path)
    with payload.job() as job:
        job.output("x").write_text("y")
    assert report(folder)["outputs"][0]["name"] == "x"


def test_outside_of_a_job_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_INPUT", str(tmp_path / "input.json"))
    with pytest.raises(FileNotFoundError):
        payload.job()


def test_importing_it_is_light() -> None:
    look = "import sys, idds.sdk.payload; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout.split()
    assert not {name for name in modules if name.startswith("idds.")} - {"idds.sdk", "idds.sdk.payload"}
    assert not {"pydantic", "aiohttp", "asyncio", "sqlalchemy"} & set(modules)
