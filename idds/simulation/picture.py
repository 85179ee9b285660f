"""The picture of a comparison: bytes on disk, and files delivered, over time; as SVG."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate

from idds.simulation.measures import Outcome, Sights

COLOURS = ("#D55E00", "#E69F00", "#0072B2", "#009E73")
"""Okabe and Ito's, told apart by everybody."""
WIDTH, HEIGHT, LEFT, RIGHT, GAP = 900, 220, 90, 20, 50
DAY = 86_400_000_000


def draw(outcomes: Sequence[Outcome], title: str) -> str:
    """An SVG document, which needs nothing else."""
    span = max(len(outcome.sights.on_disk) * outcome.sights.span for outcome in outcomes)
    peak = max(outcome.peak_bytes for outcome in outcomes)
    total = max(outcome.bytes for outcome in outcomes)
    window = outcomes[-1].window_bytes
    height = 2 * (HEIGHT + GAP) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="13" role="img">',
        f"<title>{escape(title)}: bytes on disk and bytes delivered over time</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="16">{escape(title)}</text>',
        *_axes(40, "on disk", peak, span),
        *_level(40, window / peak),
        *_axes(40 + HEIGHT + GAP, "delivered", total, span),
    ]
    for number, outcome in enumerate(outcomes):
        colour = COLOURS[number % len(COLOURS)]
        delivered = list(accumulate(outcome.sights.delivered))
        lines.append(_line(40, outcome.sights, outcome.sights.on_disk, peak, span, colour))
        lines.append(_line(40 + HEIGHT + GAP, outcome.sights, delivered, total, span, colour))
        x = LEFT + 200 + 150 * number
        lines.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>')
        lines.append(f'<text x="{x + 18}" y="22">{escape(outcome.strategy)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _axes(top: int, name: str, most: int, span: int) -> Iterator[str]:
    bottom = top + HEIGHT
    yield f'<path d="M{LEFT} {top}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="#555"/>'
    yield f'<text x="{LEFT - 8}" y="{top + 10}" text-anchor="end">{most / 1e12:,.1f} TB</text>'
    yield f'<text x="{LEFT - 8}" y="{top + HEIGHT // 2}" text-anchor="end">{name}</text>'
    yield f'<text x="{LEFT}" y="{bottom + 18}">0</text>'
    yield f'<text x="{WIDTH - RIGHT}" y="{bottom + 18}" text-anchor="end">{span / DAY:.1f} days</text>'


def _level(top: int, part: float) -> Iterator[str]:
    y = top + HEIGHT * (1 - part)
    if part <= 1:
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#555" stroke-dasharray="4 4"/>'
        yield f'<text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end">the window</text>'


def _line(top: int, sights: Sights, values: Sequence[int], most: int, span: int, colour: str) -> str:
    wide = WIDTH - LEFT - RIGHT
    points = " ".join(
        f"{LEFT + wide * (number + 1) * sights.span / span:.1f},{top + HEIGHT * (1 - value / most):.1f}"
        for number, value in enumerate(values)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
