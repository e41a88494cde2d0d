"""Names that parameters had in older files, so that those files still open.

In:   a name in a checkpoint, a calibration or a `.bcap` file, and the techniques of its model.
Out:  the name in today's model, and back.

Version 0.1.0 numbered techniques in the order of the recipe's list (`route.0.weight_SD`), today they have their names
(`techniques.unet_skips.weight_SD`). A digest of weights goes on with the first names, so that a checkpoint keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable

_TECHNIQUES_0_1 = ("unet_skips", "residual_mix")
"""The techniques there were, in the one order in which a recipe could usefully list them."""


def current_name(name: str, techniques: Iterable[str]) -> str:
    """Today's name of a parameter, or of what begins with a parameter's name; others stay.

    >>> current_name("route.1.mix_L2D", ["unet_skips", "residual_mix"])
    'techniques.residual_mix.mix_L2D'
    """
    for old, new in _prefixes(techniques):
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def first_name(name: str, techniques: Iterable[str]) -> str:
    """The name that a parameter had in the first version that knew it."""
    for old, new in _prefixes(techniques):
        if name.startswith(new):
            return old + name[len(new) :]
    return name


def _prefixes(techniques: Iterable[str]) -> list[tuple[str, str]]:
    names = [name for name in techniques if name in _TECHNIQUES_0_1]
    return [(f"route.{place}.", f"techniques.{name}.") for place, name in enumerate(names)]
