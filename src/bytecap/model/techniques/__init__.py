"""The techniques there are: the files of this folder. A file is read only when a model uses it.

In:   names from recipes, checkpoints and `.bcap` files.
Out:  the class of each, in the order in which they join a model.
"""

from __future__ import annotations

from collections.abc import Iterable

from bytecap.core.parts import Parts
from bytecap.model.techniques.base import Technique, TechniqueConfig

TECHNIQUES = Parts("technique", __name__, __path__, Technique)


def technique_config(name: str) -> type[TechniqueConfig]:
    """The settings of the technique `name`; ConfigError with the nearest name when there is none."""
    return TECHNIQUES.find(name).config_class


def with_defaults(*names: str) -> dict[str, TechniqueConfig]:
    """Techniques with their default settings, for `ModelConfig.techniques`.

    >>> with_defaults("xsa")
    {'xsa': XSAConfig(last_blocks='4 of 12')}
    """
    return {name: technique_config(name)() for name in names}


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order in which techniques join: alphabetical, but behind those that they run after."""
    waiting, ordered = sorted(names), list[str]()
    earlier = {name: set(TECHNIQUES.find(name).runs_after) & set(waiting) for name in waiting}
    while waiting:
        ready = next((name for name in waiting if earlier[name] <= set(ordered)), None)
        if ready is None:
            raise TypeError(f"the techniques {', '.join(waiting)} all ask to run after each other in `runs_after`")
        ordered.append(ready)
        waiting.remove(ready)
    return ordered
