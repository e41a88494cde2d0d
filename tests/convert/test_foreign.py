"""Stand-ins keep what a file says and do nothing."""

from __future__ import annotations

from typing import Any

import torch

from bytecap.convert.foreign import Foreign, stand_in


def test_stand_ins() -> None:
    """Called, built and filled as the class would have been; each knows its name and whether numbers went in."""
    kind, name = stand_in("a.B")
    assert name == "a.B" and issubclass(kind, Foreign)
    empty, built = kind(1, "x", key=2), kind()
    built.__setstate__({"inner": [kind((torch.ones(1),))]})
    assert empty.kind == "a.B" and empty.arguments == (1, "x", 2)
    assert not empty.holds_numbers() and built.holds_numbers() and empty.module_table() is None
    assert stand_in("numpy._core.multiarray._reconstruct")[0]().holds_numbers()
    circle: list[Any] = []
    circle.append(circle)
    assert not kind(circle).holds_numbers()


def test_a_module_saved_whole_gives_its_tensors() -> None:
    """Parameters, persistent buffers and submodules of a module that was saved whole."""
    module = stand_in("net.Net")[0]()
    module.__setstate__(
        {
            "_parameters": {"w": torch.ones(2), "bias": None}, "_modules": {"inner": 1, 3: 2},
            "_buffers": {"kept": torch.ones(1), "mask": torch.ones(1)}, "_non_persistent_buffers_set": {"mask"},
        }
    )  # fmt: skip
    assert set(module.module_table() or ()) == {"w", "kept", "inner"}
