"""Of each file of handwritten digits: how many images of every digit there are, the sums of their pixels, and all."""

import json
from pathlib import Path

from idds.sdk import payload

DIGITS = 10
PIXELS = 64


def read(path: str) -> list[list[int]]:
    """A line of the file is an image: its pixels, row by row, and the digit it shows. Raises ValueError."""
    return [list(map(int, line.split(","))) for line in Path(path).read_text(encoding="ascii").splitlines()]


def count(rows: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """How many images there are of each digit, and the sums of their pixels."""
    images = [0] * DIGITS
    sums = [[0] * PIXELS for _ in range(DIGITS)]
    for *pixels, digit in rows:
        images[digit] += 1
        sums[digit] = [total + pixel for total, pixel in zip(sums[digit], pixels, strict=True)]
    return images, sums


def main() -> None:
    with payload.job() as job:
        for content in job:
            with job.processing(content):
                assert content.path is not None
                rows = read(content.path)
                images, sums = count(rows)
                result = {"file": content.name, "images": images, "sums": sums, "rows": rows}
                job.output(f"{content.name}.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
