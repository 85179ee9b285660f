"""What a job's folder tells, whatever stands in it."""

from pathlib import Path

import pytest

from idds.domain.job import JobSpec, JobState
from idds.domain.statuses import Blame, JobStatus
from idds.domain.workflow import Payload, Resources
from idds.providers.local.artifacts import last_words, read_stream
from idds.providers.local.folder import Cause, Folder, Order, Traces, leftovers

SPEC = JobSpec("p1-a1", Payload(argv=("true", "é"), environment={"A": "b"}), Resources(cores=2), {})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path, "p1-a1")
    assert folder.create(SPEC, b"{}", 5)
    return folder


def test_it_keeps_what_it_was_given(folder: Folder) -> None:
    assert folder.spec() == (SPEC, 5)
    assert folder.traces() == Traces(None, None, None, None)
    order = Order(Cause.MEMORY, "too much")
    folder.record_order(order)
    state = JobState(JobStatus.FAILED, 7, "exit 3", 3, Blame.USER, "exit code 3", {"cpu_s": 0.5})
    folder.record_end(state)
    assert (folder.traces().order, folder.traces().ended) == (order, state)
    assert not list(folder.path.glob(".*")), "no drafts remain"


def test_the_first_to_make_it_makes_it(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not folder.create(SPEC, b"other", 6)
    # Also where both saw that there was none.
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert not folder.create(SPEC, b"other", 6)
    assert (folder.path / "input.json").read_bytes() == b"{}"
    assert leftovers(tmp_path) == []


def test_it_is_decided_once_whether_the_job_runs(folder: Folder) -> None:
    assert folder.claim()
    assert not folder.claim()


@pytest.mark.parametrize("garbage", ["", "{", "null", "[]", '{"status": "done"}', "\0", "x y"])
def test_garbage_is_nothing(folder: Folder, garbage: str) -> None:
    for name in ("spec.json", "order.json", "ended.json", "exit"):
        (folder.path / name).write_text(garbage)
    assert folder.spec() is None
    assert folder.traces() == Traces(None, None, None, None)


def test_the_exit_of_a_wrapper(folder: Folder) -> None:
    (folder.path / "exit").write_text("3\n0m0.01s 0m0.02s\n1m2.50s 0m0.25s\n")
    found = folder.traces().exit
    assert found is not None
    assert (found.code, found.cpu_s) == (3, 62.75)
    (folder.path / "exit").write_text("3\n")
    assert folder.traces().exit is not None


def test_forgetting_twice(folder: Folder, tmp_path: Path) -> None:
    (folder.path / "outputs" / "link").symlink_to("/")
    (folder.path / "outputs" / "deep").mkdir()
    (folder.path / "outputs" / "deep").chmod(0o500)
    folder.forget()
    folder.forget()
    assert list(tmp_path.iterdir()) == []


def test_reading_a_stream(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"0123456789")
    assert read_stream(tmp_path, "stdout", 0, 4) == (b"0123", 4, False)
    assert read_stream(tmp_path, "stdout", 8, 4) == (b"89", 10, True)
    assert read_stream(tmp_path, "stdout", -3, 2) == (b"78", 9, False)
    assert read_stream(tmp_path, "stdout", 20, 4) == (b"", 20, True)
    assert read_stream(tmp_path, "stderr", 3, 4) == (b"", 3, True)
    assert read_stream(tmp_path, "stderr", -3, 4) == (b"", 0, True)


def test_last_words(tmp_path: Path) -> None:
    (tmp_path / "stderr").write_bytes(b"1\n2\n\n3\n  4\n5\n6\xff\x07\n\n")
    assert last_words(tmp_path) == "2\n3\n4\n5\n6\ufffd "
