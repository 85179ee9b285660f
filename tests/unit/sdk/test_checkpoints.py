"""Checkpoints of samples: kept while these are unfinished, and for one payload at a time."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from idds.sdk.checkpoints import Checkpoints
from idds.sdk.locks import try_lock

URL = "https://idds.example.org:8443/"


def test_what_was_left_is_found_again_until_its_sample_has_ended(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, URL, 7)
    first = kept.take(3)
    assert first is not None
    assert first.path == tmp_path / "idds.example.org-8443" / "study-7" / "sample-3"
    assert not first.is_written()
    (first.path / "epoch").write_text("5")
    assert first.is_written()
    first.leave()
    second = Checkpoints(tmp_path, URL, 7).take(3)
    assert second is not None
    assert (second.path / "epoch").read_text() == "5"
    second.remove()
    assert list(first.path.parent.iterdir()) == []
    third = kept.take(3)
    assert third is not None
    assert not third.is_written()
    third.leave()


def test_others_have_others(tmp_path: Path) -> None:
    taken = [
        Checkpoints(tmp_path, url, study).take(sample)
        for url, study, sample in [(URL, 7, 3), (URL, 7, 4), (URL, 8, 3), ("http://other", 7, 3)]
    ]
    assert len({each.path for each in taken if each is not None}) == 4
    for each in taken:
        assert each is not None
        each.leave()


def test_while_somebody_is_at_it_nobody_else_is(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, URL, 7)
    first = kept.take(3)
    assert first is not None
    assert kept.take(3) is None
    first.leave()
    again = kept.take(3)
    assert again is not None
    again.leave()


def test_a_lock_whose_file_was_just_removed_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opened it before then would lock a file that the next one does not see."""
    path, locking = tmp_path / "lock", fcntl.flock
    removed: list[Path] = []

    def flock(descriptor: int, how: int) -> None:
        if not removed:
            path.unlink()
            removed.append(path)
        locking(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = try_lock(path)
    assert lock is not None
    assert path.exists()
    assert try_lock(path) is None
    lock.leave()
    assert not path.exists()


def test_a_file_system_without_locks_locks_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    lock.leave()
