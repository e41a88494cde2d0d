"""Stand-ins for objects of classes that are not called: what a file says of them is kept, and nothing runs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

_ARRAYS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.ndarray")


class Foreign:
    """An object whose class is only known by name; a subclass for each name."""

    kind = ""
    """The name of its class."""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any, **named: Any) -> Foreign:
        """What the class or function would have been called with is kept."""
        made = super().__new__(cls)
        made.arguments, made.state = (*arguments, *named.values()), None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def holds_numbers(self) -> bool:
        """True when tensors or arrays went into it, so that leaving it out would lose weights."""
        return _has_tensor([self])

    def module_table(self) -> dict[str, Any] | None:
        """Parameters, persistent buffers and submodules, if it is a module that was saved whole."""
        state = self.state
        if not isinstance(state, dict) or not {"_parameters", "_buffers", "_modules"} <= set(state):
            return None
        passing = state.get("_non_persistent_buffers_set") or ()
        parts = {name: value for name, value in state["_buffers"].items() if name not in passing}
        parts = {**state["_parameters"], **parts, **state["_modules"]}
        return {name: value for name, value in parts.items() if isinstance(name, str) and value is not None}


def stand_in(name: str) -> tuple[type[Foreign], str]:
    """A class for the global of this name, with the name, as torch's list of safe globals wants it."""
    return type("Foreign", (Foreign,), {"kind": name}), name


def _has_tensor(value: Any) -> bool:
    """Return whether there is a tensor or an array in nested containers and stand-ins; each is looked into once."""
    seen: set[int] = set()
    open_ = [value]
    while open_:
        inner = open_.pop()
        if isinstance(inner, Tensor):
            return True
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        if isinstance(inner, Foreign):
            if inner.kind in _ARRAYS:
                return True
            open_ += [inner.arguments, inner.state]
        elif isinstance(inner, dict):
            open_ += inner.values()
        elif isinstance(inner, (list, tuple, set)):
            open_ += inner
    return False
