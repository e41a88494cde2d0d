"""bytecap: the best language model in N bytes.

    fit(model, batches, loss=..., cap_bytes="4MB")   any torch module into a file of at most N bytes: an Artifact
    load(path)                                       a `.bcap` file: an Artifact
    load_state_dict(path)                            its weights by name, for any torch module

Errors are one tree under BytecapError. Torch is imported when the first of these names is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bytecap.core.errors import (
    BackendError,
    BudgetError,
    BytecapError,
    ConfigError,
    DataError,
    FormatError,
    NumericsError,
    Stopped,
)
from bytecap.core.version import __version__

__all__ = [
    "Artifact",
    "BackendError",
    "BudgetError",
    "BytecapError",
    "ConfigError",
    "DataError",
    "FormatError",
    "NumericsError",
    "QuantConfig",
    "Stopped",
    "__version__",
    "fit",
    "load",
    "load_state_dict",
]

if TYPE_CHECKING:
    from bytecap.api import fit, load, load_state_dict
    from bytecap.artifact.load import Artifact
    from bytecap.quant.allocation import QuantConfig

_LAZY = {
    "Artifact": "bytecap.artifact.load",
    "QuantConfig": "bytecap.quant.allocation",
    **dict.fromkeys(("fit", "load", "load_state_dict"), "bytecap.api"),
}
"""Names that bring torch or numpy in, and where they live."""


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'bytecap' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
