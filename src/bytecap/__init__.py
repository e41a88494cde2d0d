"""bytecap: the best language model in N bytes."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "fit", "load_state_dict"]

if TYPE_CHECKING:
    from bytecap.module import fit, load_state_dict


def __getattr__(name: str) -> Any:
    """`bytecap.fit` and `bytecap.load_state_dict` bring torch in only when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'bytecap' has no attribute {name!r}")
    from bytecap import module  # noqa: PLC0415

    return getattr(module, name)
