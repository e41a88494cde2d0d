"""Layouts of weights that are quantized already: what lies in this folder is found (core/parts.py)."""

from __future__ import annotations

from bytecap.convert.layouts.base import Layout
from bytecap.core.parts import Parts

LAYOUTS = Parts("layout of quantized weights", __name__, __path__, Layout)  # type: ignore[type-abstract]  # looked up


def known_layouts() -> list[Layout]:
    """One of each, by the names of their files."""
    return [LAYOUTS.find(name)() for name in LAYOUTS.names()]


def layout_titles() -> list[str]:
    """What the layouts are called."""
    return sorted(layout.title for layout in known_layouts())
