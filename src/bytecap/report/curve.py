"""Bytes against divergence as a picture: one marker for each cap, written by hand as SVG.

In:   the report of several fits (JSON values), each with a divergence.
Out:  the text of an `.svg` file; the same report give the same text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 40, 56
"""Margins around the axes."""
MIN_KL = 1e-9
"""Where a divergence of 0 or below is drawn."""
_UNITS = ((1_000_000, "MB"), (1_000, "kB"), (1, "B"))
_MAX_TICKS = 10


def curve_svg(rows: Sequence[dict[str, Any]]) -> str:
    """The picture, with the interval of each divergence as a bar."""
    points = sorted((row["bytes"], max(row["divergence"]["kl"], MIN_KL), _interval(row)) for row in rows)
    x_ticks = linear_ticks([size for size, _, _ in points])
    y_ticks = log_ticks([kl for _, kl, _ in points])
    placed = [(_x(size, x_ticks), _y(kl, y_ticks)) for size, kl, _ in points]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 22, f"{rows[0]['scheme']}: bytes of the file and what they cost", "title"),
        *_axes(x_ticks, y_ticks),
        f'<polyline points="{" ".join(f"{x:.2f},{y:.2f}" for x, y in placed)}" fill="none" stroke="#1f5fa8"/>',
    ]
    for (size, kl, interval), (x, y) in zip(points, placed, strict=True):
        above, below = (
            _y(min(max(value, y_ticks[0]), y_ticks[-1]), y_ticks) for value in (kl + interval, kl - interval)
        )
        lines += [
            f'<line x1="{x:.2f}" y1="{above:.2f}" x2="{x:.2f}" y2="{below:.2f}" stroke="#1f5fa8"/>',
            f'<circle class="marker" cx="{x:.2f}" cy="{y:.2f}" r="4" fill="#1f5fa8">'
            f"<title>{size:,} bytes, {kl:.5g} ± {interval:.2g} nats per token</title></circle>",
        ]
    return "\n".join([*lines, "</svg>", ""])


def linear_ticks(values: Sequence[float]) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, the first at or below all values and the last at or above."""
    low, high = min(values), max(values)
    rough = max(high - low, high / 10, 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(1.0, next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * place for place in range(first, max(last, first + 1) + 1)]


def log_ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times powers of ten around all values, or the powers alone where there would be many."""
    for factors in ((1, 2, 5), (1,)):
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1
        ladder = [float(f"{factor}e{power}") for power in range(low, high + 1) for factor in factors]
        first = max(i for i, tick in enumerate(ladder) if tick <= min(values) or i == 0)
        last = min(i for i, tick in enumerate(ladder) if tick >= max(values))
        ticks = ladder[first : max(last, first + 1) + 1]
        if len(ticks) <= _MAX_TICKS:
            break
    return ticks


def _axes(x_ticks: list[float], y_ticks: list[float]) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    unit, name = next((unit, name) for unit, name in _UNITS if all(tick % unit == 0 for tick in x_ticks))
    lines = []
    for tick in x_ticks:
        x = _x(tick, x_ticks)
        lines.append(f'<line x1="{x:.2f}" y1="{TOP}" x2="{x:.2f}" y2="{bottom}" stroke="#dddddd"/>')
        lines.append(_text(x, bottom + 18, f"{tick / unit:,g} {name}", "x"))
    for tick in y_ticks:
        y = _y(tick, y_ticks)
        lines.append(f'<line x1="{LEFT}" y1="{y:.2f}" x2="{right}" y2="{y:.2f}" stroke="#dddddd"/>')
        lines.append(_text(LEFT - 8, y + 4, f"{tick:g}", "y", anchor="end"))
    lines.append(f'<path d="M{LEFT},{TOP} V{bottom} H{right}" fill="none" stroke="black"/>')
    lines.append(_text((LEFT + right) / 2, HEIGHT - 14, "bytes of the file", "label"))
    middle = (TOP + bottom) / 2
    turned = f' transform="rotate(-90 20 {middle:.2f})"'
    lines.append(_text(20, middle, "KL to the original, nats per token", "label", more=turned))
    return lines


def _text(x: float, y: float, words: str, kind: str, *, anchor: str = "middle", more: str = "") -> str:
    return f'<text class="{kind}" x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _x(value: float, ticks: list[float]) -> float:
    return LEFT + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, ticks: list[float]) -> float:
    share = math.log(ticks[-1] / value) / math.log(ticks[-1] / ticks[0])
    return TOP + share * (HEIGHT - TOP - BOTTOM)


def _interval(row: dict[str, Any]) -> float:
    """Half width at 95 %; 0 where it is not known."""
    interval = float(row["divergence"]["kl_interval"])
    return interval if math.isfinite(interval) else 0.0
