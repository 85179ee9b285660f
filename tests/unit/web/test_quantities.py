"""Quantities as people read and write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.web.quantities import micros, moment, number, rate, read_size, size, span, stamp


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1 kB"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (5 * 10**12, "5 TB"),
        (10**22, "10000 EB"),
        (None, "–"),
    ],
)
def test_bytes(amount: float | None, text: str) -> None:
    assert size(amount) == text


@given(st.integers(0, 10**19))
def test_bytes_as_written_are_read_back_to_three_digits(amount: int) -> None:
    assert abs(read_size(size(amount)) - amount) <= max(0.5, amount / 199)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("5 TB", 5 * 10**12), ("2.5T", 2_500_000_000_000), ("1000000", 10**6), (" 7 kb ", 7000), ("0", 0)],
)
def test_bytes_are_read(text: str, amount: int) -> None:
    assert read_size(text) == amount


@pytest.mark.parametrize("text", ["", "much", "-5", "5 XB", "1e9", "5 T B", "１０", "9" * 400 + ".5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        read_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.123, "0.12 s"),
        (59, "59 s"),
        (119, "119 s"),
        (120, "2 min"),
        (5400, "90 min"),
        (7200, "2 h"),
        (86400, "24 h"),
        (200_000, "2.31 d"),
        (None, "–"),
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_the_rest() -> None:
    assert micros(90_000_000) == "90 s"
    assert rate(1500.0) == "1.5 kB/s"
    assert number(1234567) == "1,234,567"
    assert micros(None) == number(None) == rate(None) == moment(None) == "–"
    assert moment(1_700_000_000_500_000) == "2023-11-14 22:13:20"
    assert stamp(1_700_000_000_500_000) == "2023-11-14T22:13:20.500000Z"
