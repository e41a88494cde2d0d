"""The picture of a curve, read back as XML."""

import itertools
import math
import random
from typing import Any
from xml.etree import ElementTree

import pytest

from bytecap.report.curve import curve_svg, linear_ticks, log_ticks

SVG = "{http://www.w3.org/2000/svg}"


def report(size: int, kl: float, interval: float = 0.0) -> dict[str, Any]:
    return {"scheme": "bytecap", "bytes": size, "divergence": {"kl": kl, "kl_interval": interval}}


def ticks_of(root: ElementTree.Element, kind: str) -> list[tuple[float, float]]:
    """(place, value) of the labels on one axis."""
    units = {"B": 1, "kB": 1000, "MB": 1_000_000}
    found = []
    for element in root.iter(f"{SVG}text"):
        if element.get("class") == kind:
            number, _, unit = (element.text or "").partition(" ")
            place = float(element.get(kind, "nan")) - (4 if kind == "y" else 0)
            found.append((place, float(number.replace(",", "")) * units.get(unit, 1)))
    return found


CURVES = [
    [(99_990, 0.2), (199_000, 0.03), (399_000, 0.0021)],
    [(5_000, 1.5e-4)],
    [(15_999_000, 0.5), (3_000_000, 1e-8), (900, 7.0)],
    [(100, 0.5), (101, 0.6)],
    [(1_000_000, 0.01), (1_000_000, 0.01)],
    [(1_234_567, 0.0), (2_345_678, -1e-12)],
]


@pytest.mark.parametrize("points", CURVES)
def test_markers_lie_where_the_ticks_say(points: list[tuple[int, float]]) -> None:
    """Linear between two ticks below, logarithmic between two at the side; inside the picture, one for each cap."""
    text = curve_svg([report(size, kl, 0.1 * kl) for size, kl in points])
    root = ElementTree.fromstring(text)
    markers = [m for m in root.iter(f"{SVG}circle") if m.get("class") == "marker"]
    (x0, a0), *_, (x1, a1) = ticks_of(root, "x")
    (y0, b0), *_, (y1, b1) = ticks_of(root, "y")
    assert len(markers) == len(points)
    for (size, kl), marker in zip(sorted(points), markers, strict=True):
        kl = max(kl, 1e-9)
        x = x0 + (x1 - x0) * (size - a0) / (a1 - a0)
        y = y0 + (y1 - y0) * (math.log10(kl) - math.log10(b0)) / (math.log10(b1) - math.log10(b0))
        assert float(marker.get("cx", "nan")) == pytest.approx(x, abs=0.02)
        assert float(marker.get("cy", "nan")) == pytest.approx(y, abs=0.02)
        assert 84 <= x <= 616 and 40 <= y <= 344
        assert f"{size:,} bytes" in (marker.findtext(f"{SVG}title") or "")
    assert text == curve_svg([report(size, kl, 0.1 * kl) for size, kl in points])


def test_labels_and_intervals() -> None:
    """Both axes say what they are; an unknown interval has no length; words are escaped."""
    rows = [report(1000, 0.1, math.inf), report(2000, 0.01, 0.005)]
    root = ElementTree.fromstring(curve_svg([{**row, "scheme": "a<b"} for row in rows]))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "bytes of the file" in texts and "KL to the original, nats per token" in texts
    assert texts[0] == "a<b: bytes of the file and what they cost"
    bars = [line for line in root.iter(f"{SVG}line") if line.get("stroke") != "#dddddd"]
    lengths = [float(bar.get("y2", "nan")) - float(bar.get("y1", "nan")) for bar in bars]
    assert lengths[0] == 0 and lengths[1] > 5


def test_ticks_are_round_and_cover_the_values() -> None:
    """Around all values, evenly spaced or 1, 2, 5, and between two and ten of them."""
    rng = random.Random(0)
    for _ in range(300):
        values = [float(rng.randint(1, 10 ** rng.randint(1, 9))) for _ in range(rng.randint(1, 5))]
        ticks = linear_ticks(values)
        assert ticks[0] <= min(values) and ticks[-1] >= max(values) and 2 <= len(ticks) <= 10
        assert {round(b - a, 3) for a, b in itertools.pairwise(ticks)} == {round(ticks[1] - ticks[0], 3)}
        small = [value * 1e-9 for value in values]
        ticks = log_ticks(small)
        assert ticks[0] <= min(small) and ticks[-1] >= max(small) and 2 <= len(ticks) <= 12
        assert all(f"{tick:e}"[:8] in ("1.000000", "2.000000", "5.000000") for tick in ticks)
