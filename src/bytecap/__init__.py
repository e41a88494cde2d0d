"""bytecap: the best language model in N bytes."""

from typing import TYPE_CHECKING, Any

from bytecap.core.version import __version__

__all__ = ["__version__", "fit", "load_state_dict"]

if TYPE_CHECKING:
    from bytecap.api import fit, load_state_dict


def __getattr__(name: str) -> Any:
    """`bytecap.fit` and `bytecap.load_state_dict` bring torch in only when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'bytecap' has no attribute {name!r}")
    from bytecap import api  # noqa: PLC0415

    return getattr(api, name)
