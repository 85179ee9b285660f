"""What outlives a kill: the record of looks, the timeline of runs, messages that came twice."""

from pathlib import Path

from idds.cli.demonstration.announcements import announced
from idds.cli.demonstration.disk import DiskWatch, Look, look, sights
from idds.cli.demonstration.record import Record
from idds.cli.demonstration.timeline import Timeline


def test_looking_counts_files_half_copied_and_names_the_complete_ones(tmp_path: Path) -> None:
    folder = tmp_path / "DISK"
    assert look(folder) == Look(0, frozenset())
    (folder / "scope").mkdir(parents=True)
    (folder / "scope" / "a").write_bytes(b"12345")
    (folder / "scope" / "b.0.part").write_bytes(b"123")
    assert look(folder) == Look(8, frozenset({"a"}))


def test_a_watch_goes_on_where_the_killed_one_was(tmp_path: Path) -> None:
    record = Record(tmp_path / "disk.jsonl")
    record.add({"at": 1, "bytes": 5, "came": ["a", "b"], "went": [], "looks": 1})
    record.add({"at": 2, "bytes": 3, "came": ["c"], "went": ["a"], "looks": 4})
    watch = DiskWatch(tmp_path, record)
    assert watch.last == Look(3, frozenset({"b", "c"}))
    assert watch.released == 1
    assert [(sight.staged, sight.released) for sight in sights(record)] == [(2, 0), (3, 1)]


def test_a_message_that_came_twice_counts_once(tmp_path: Path) -> None:
    record = Record(tmp_path / "announcements.jsonl")
    for _ in range(2):
        record.add({"id": "1.1", "type": "contents.available", "work": "count", "contents": [[7, 0, "a"]]})
    record.add({"id": "1.2", "type": "request.finished", "work": "", "contents": []})
    assert [(each.message, each.content, each.status) for each in announced(record)] == [("1.1", 7, "available")]


def test_time_between_a_kill_and_the_next_run_does_not_count(tmp_path: Path) -> None:
    runs, looks = Record(tmp_path / "runs.jsonl"), Record(tmp_path / "disk.jsonl")
    second = 1_000_000
    for entry in ({"started": 0}, {"started": 100 * second}, {"ended": 103 * second}, {"started": 200 * second}):
        runs.add(entry)
    looks.add({"at": 4 * second, "bytes": 0, "came": [], "went": [], "looks": 1})
    timeline = Timeline.of(runs, sights(looks), 210 * second)
    assert [run.was_killed for run in timeline.runs] == [True, False, False]
    assert timeline.kills_s == (4.0,)
    assert timeline.seconds(2 * second) == 2.0
    assert timeline.seconds(50 * second) == 4.0
    assert timeline.seconds(101 * second) == 5.0
    assert timeline.seconds(205 * second) == 12.0
