"""The demo's real data."""

from pathlib import Path

from idds.cli.demonstration.carousel import BATCH, TENTH
from idds.cli.demonstration.digits import read_digits
from idds.cli.demonstration.payloads.count import count, read


def test_all_digits_of_scikit_learn_in_different_files_of_different_sizes(tmp_path: Path) -> None:
    digits = read_digits(120)
    assert len({file.content for file in digits.files}) == len({file.name for file in digits.files}) == 120
    assert len({len(file.content) for file in digits.files}) > 60
    images = [0] * 10
    for file in digits.files:
        (tmp_path / file.name).write_bytes(file.content)
        images = [total + n for total, n in zip(images, count(read(str(tmp_path / file.name)))[0], strict=True)]
    assert tuple(images) == digits.images
    assert sum(images) == 1797


def test_batches_fit_the_window_however_many_files_there_are() -> None:
    for files in (30, 40, 60, 120, 600):
        digits = read_digits(files)
        batch = max(1, min(BATCH, files // (3 * TENTH)))
        sizes = [len(file.content) for file in digits.files]
        assert min(sizes) > 0
        assert max(sum(sizes[at : at + batch]) for at in range(0, files, batch)) <= digits.bytes // TENTH
