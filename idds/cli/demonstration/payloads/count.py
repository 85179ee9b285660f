"""Of each file of handwritten digits: how many images of every digit there are, and the sums of their pixels."""

import json
from pathlib import Path

from idds.sdk import payload

DIGITS = 10
PIXELS = 64


def count(path: str) -> tuple[list[int], list[list[int]]]:
    """A line of the file is an image: its pixels, row by row, and the digit it shows. Raises ValueError."""
    images = [0] * DIGITS
    sums = [[0] * PIXELS for _ in range(DIGITS)]
    for line in Path(path).read_text(encoding="ascii").splitlines():
        *pixels, digit = map(int, line.split(","))
        images[digit] += 1
        sums[digit] = [total + pixel for total, pixel in zip(sums[digit], pixels, strict=True)]
    return images, sums


def main() -> None:
    with payload.job() as job:
        for content in job:
            with job.processing(content):
                assert content.path is not None
                images, sums = count(content.path)
                result = {"file": content.name, "images": images, "sums": sums}
                job.output(f"{content.name}.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
