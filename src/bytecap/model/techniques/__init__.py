"""The techniques there are: the files of this folder. A file is read only when a model uses it.

In:   names from recipes, checkpoints and `.bcap` files.
Out:  the class of each, in the order in which they join a model.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from bytecap.core.errors import ConfigError, nearest
from bytecap.model.techniques.base import Technique, TechniqueConfig


def technique_names() -> list[str]:
    """What there is, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def technique_class(name: str) -> type[Technique]:
    """The technique in the file `name`; ConfigError with the nearest name when there is none."""
    known = technique_names()
    if name not in known:
        raise ConfigError(f"there is no technique {name[:80]!r}{nearest(name[:80], known)}; known: {', '.join(known)}")
    module = importlib.import_module(f"{__name__}.{name}")
    found = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    classes = [c for c in found if issubclass(c, Technique)]
    if len(classes) != 1:
        raise TypeError(f"{module.__file__} holds {len(classes)} subclasses of Technique; one file is one technique")
    return classes[0]


def technique_config(name: str) -> type[TechniqueConfig]:
    """The settings of the technique `name`; ConfigError with the nearest name when there is none."""
    return technique_class(name).config_class


def with_defaults(*names: str) -> dict[str, TechniqueConfig]:
    """Techniques with their default settings, for `ModelConfig.techniques`.

    >>> with_defaults("xsa")
    {'xsa': XSAConfig(last_blocks='4 of 12')}
    """
    return {name: technique_config(name)() for name in names}


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order in which techniques join: alphabetical, but behind those that they run after."""
    waiting, ordered = sorted(names), list[str]()
    earlier = {name: set(technique_class(name).runs_after) & set(waiting) for name in waiting}
    while waiting:
        ready = next((name for name in waiting if earlier[name] <= set(ordered)), None)
        if ready is None:
            raise TypeError(f"the techniques {', '.join(waiting)} all ask to run after each other in `runs_after`")
        ordered.append(ready)
        waiting.remove(ready)
    return ordered
