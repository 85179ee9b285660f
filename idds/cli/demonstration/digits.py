"""The real data: the UCI handwritten digits that ship inside scikit-learn, as many files of different sizes."""

import random
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

DIGITS = 10


@dataclass(frozen=True, slots=True)
class DigitFile:
    """A line of it is an image, as UCI writes it: 64 pixels from 0 to 16, row by row, and the digit it shows."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Digits:
    """`images` says how many images of each digit the files hold together, as scikit-learn counts them."""

    files: tuple[DigitFile, ...]
    images: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return sum(len(file.content) for file in self.files)


def read_digits(count: int) -> Digits:
    """All images in `count` files, the same ones every time. It takes a second or two: not for an event loop."""
    from sklearn.datasets import load_digits

    source = load_digits()
    lines = [
        ",".join(str(int(value)) for value in (*pixels, digit)) + "\n"
        for pixels, digit in zip(source.data, source.target, strict=True)
    ]
    files = tuple(
        DigitFile(f"digits-{number:03d}.csv", "".join(lines[start:end]).encode())
        for number, (start, end) in enumerate(_cuts(len(lines), count))
    )
    return Digits(files, tuple(int((source.target == digit).sum()) for digit in range(DIGITS)))


def _cuts(images: int, count: int) -> list[tuple[int, int]]:
    """Uneven pieces, the largest about four times the smallest."""
    chance = random.Random(count)  # noqa: S311
    ends = list(accumulate(chance.uniform(0.4, 1.6) for _ in range(count)))
    return list(pairwise([0, *(round(images * end / ends[-1]) for end in ends)]))
