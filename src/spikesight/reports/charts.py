"""Charts that take their colours from the page: bars as HTML, curves as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from spikesight.errors import UserError

Tone = Literal["spike", "twin", "average", "learning"]
PARTS = ("part1", "part2", "part3", "part4", "part5", "part6")
"""Colours of the parts of a stacked bar."""

_WIDTH, _HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 40
_SPARK = (150, 26)
_SPARK_POINTS = 60


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        name: What it shows.
        tone: Its colour.
        points: (x, y) from left to right, all finite.
    """

    name: str
    tone: Tone
    points: Sequence[tuple[float, float]]


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """What the colours mean."""
    items = "".join(f'<span class="{tone}"><i></i>{escape(name)}</span>' for tone, name in entries)
    return f'<div class="key">{items}</div>'


def bar_chart(
    names: Sequence[str],
    series: Sequence[tuple[Tone, Sequence[float]]],
    show: Callable[[float], str],
) -> str:
    """Horizontal bars from zero, one or more per name, with their values in figures.

    Args:
        names: One per row.
        series: For each colour its values, one per name, at least 0 and finite.
        show: Turns a value into text.

    Raises:
        UserError: If a value is negative or not finite, or a series has another length.
    """
    for tone, values in series:
        if len(values) != len(names):
            raise UserError(f"series {tone} has {len(values)} values for {len(names)} names")
        for name, value in zip(names, values, strict=True):
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name} is {value}; pass values of at least 0")
    largest = max((value for _, values in series for value in values), default=0.0)
    rows = []
    for position, name in enumerate(names):
        bars = "".join(
            f'<div class="bar"><i class="{tone}" style="width:calc(var(--room) * '
            f'{values[position] / largest if largest else 0:.4f})"></i>'
            f"<span>{escape(show(values[position]))}</span></div>"
            for tone, values in series
        )
        rows.append(f'<code>{escape(name)}</code><div class="track">{bars}</div>')
    return f'<div class="bars">{"".join(rows)}</div>'


def share_bars(shares: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars of which a whole one is 100 %.

    Args:
        shares: Names with values of 0 to 1.
    """
    rows = "".join(
        f'<code>{escape(name)}</code><div class="track"><div class="bar">'
        f'<i class="spike" style="width:calc(var(--room) * {min(share, 1.0):.4f})"></i>'
        f"<span>{100 * share:.1f} %</span></div></div>"
        for name, share in shares
    )
    return f'<div class="bars">{rows}</div>'


def stacked_bars(
    names: Sequence[str],
    parts: Sequence[tuple[str, Sequence[float]]],
    show: Callable[[float], str],
) -> str:
    """Horizontal bars from zero that are made of parts, with their sums in figures and a legend.

    Args:
        names: One per row.
        parts: What each is called, at most six, and its values, one per name, at least 0.
        show: Turns a value into text.
    """
    used = [(tone, name, values) for tone, (name, values) in zip(PARTS, parts, strict=False)]
    sums = [sum(values[row] for _, _, values in used) for row in range(len(names))]
    largest = max(sums, default=0.0) or 1.0
    rows = []
    for row, name in enumerate(names):
        pieces = "".join(
            f'<i class="{tone}" style="width:calc(var(--room) * {values[row] / largest:.4f})" '
            f'title="{escape(f"{part}: {show(values[row])}")}"></i>'
            for tone, part, values in used
            if values[row] > 0
        )
        rows.append(
            f'<code>{escape(name)}</code><div class="track"><div class="bar stacked">{pieces}'
            f"<span>{escape(show(sums[row]))}</span></div></div>"
        )
    key = legend([(tone, name) for tone, name, values in used if any(values)])
    return f'{key}<div class="bars">{"".join(rows)}</div>'


def line_chart(
    title: str, curves: Sequence[Curve], x_name: str, show: Callable[[float], str]
) -> str:
    """Curves over a common axis, as one SVG with a title for readers of the page aloud.

    Args:
        title: What the chart shows.
        curves: The lines, at least one point in all.
        x_name: Name of the horizontal axis.
        show: Turns a value of the vertical axis into text.

    Raises:
        UserError: If there is no point or one is not finite.
    """
    points = [point for curve in curves for point in curve.points]
    if not points:
        raise UserError(f"there is nothing to draw for {title!r}; pass at least one point")
    if not all(math.isfinite(value) for point in points for value in point):
        raise UserError(f"a point of {title!r} is not finite; leave it out")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    ticks = _ticks(min(ys), max(ys))
    low, high = ticks[0], ticks[-1]
    first, last = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / (last - first) if last > first else 0.5
        up = (y - low) / (high - low)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for tick in ticks:
        _, y = place(first, tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(show(tick))}</text>'
        )
    for x in dict.fromkeys((first, last)):
        across, _ = place(x, low)
        parts.append(
            f'<text x="{across:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{x:g}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>'
    )
    for curve in curves:
        placed = [place(x, y) for x, y in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        label = f"{curve.name}, {x_name}"
        parts.append(f'<polyline class="curve {curve.tone}" points="{path}"/>')
        parts += [
            f'<circle class="{curve.tone}" cx="{x:.1f}" cy="{y:.1f}" r="2.6">'
            f"<title>{escape(f'{label} {at:g}: {show(value)}')}</title></circle>"
            for (at, value), (x, y) in zip(curve.points, placed, strict=True)
        ]
    return (
        f'<figure><b>{escape(title)}</b><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def sparkline(description: str, points: Sequence[tuple[float, float]], largest: float) -> str:
    """A small curve without axes, for a cell of a table.

    Args:
        description: What it shows, for readers of the page aloud.
        points: (x, y) from left to right, y of 0 to `largest`; of many some are left out.
        largest: Value of the upper edge.
    """
    step = -(-len(points) // _SPARK_POINTS) or 1
    shown = [*points[:-1:step], *points[-1:]]
    first, last = (shown[0][0], shown[-1][0]) if shown else (0.0, 0.0)
    width, height = _SPARK
    placed = [
        (
            2 + (width - 6) * ((x - first) / (last - first) if last > first else 1.0),
            height - 3 - (height - 6) * (y / largest if largest else 0.0),
        )
        for x, y in shown
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dot = f'<circle class="spike" cx="{placed[-1][0]:.1f}" cy="{placed[-1][1]:.1f}" r="2.6"/>'
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(description)}"><polyline class="curve spike" points="{path}"/>'
        f"{dot if placed else ''}</svg>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Two to seven round values around a range."""
    scale = max(abs(low), abs(high))
    span = max(high - low, 1e-6 * scale) if high > low else scale or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    start, stop = math.floor(low / step), math.ceil(high / step)
    if start == stop:
        start, stop = start - 1, stop + 1
    return [index * step for index in range(start, stop + 1)]
