"""The published schemes by name: every file of this folder, found by itself.

A file NAME.py defines `SCHEME`, or a `FAMILY` of schemes by name; docs/extending.md walks through one.
"""

import importlib
import pkgutil
import re

from bytecap.published.scheme import Scheme


def _find() -> dict[str, Scheme]:
    """Each file's scheme, names without a number first, the others by their number."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    names.sort(key=lambda name: (int(re.sub(r"\D", "", name) or 0) if name.startswith("pr") else 0, name))
    found: dict[str, Scheme] = {}
    for name in names:
        module = importlib.import_module(f"{__name__}.{name}")
        found |= getattr(module, "FAMILY", None) or {name: module.SCHEME}
    return found


SCHEMES = _find()
"""Every scheme by name."""
