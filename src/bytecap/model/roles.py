"""What a parameter is for. Optimizer group, default grid and coding section are tables keyed by role.

Every module that owns parameters declares `roles`, a table from its own parameter names to roles; nothing is routed
by a piece of a name.
"""

from __future__ import annotations

from enum import StrEnum

from torch import nn


class Role(StrEnum):
    """The kinds of parameters in use."""

    MATRIX = "matrix"
    """A linear map inside a block: many weights, coded coarsely."""
    EMBEDDING = "embedding"
    """The token table, also the output map when tied."""
    SCALAR = "scalar"
    """Gains, scales and mixes: few and sensitive: one step for the tensor."""


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """Role of each parameter by full name, in the model's order; an undeclared or unknown name is our bug."""
    roles: dict[str, Role] = {}
    for prefix, module in model.named_modules():
        declared = getattr(module, "roles", {})
        own = [name for name, _ in module.named_parameters(recurse=False)]
        assert set(own) == set(declared), f"{type(module).__name__} owns {own} but declares {list(declared)}"
        for name in own:
            roles[f"{prefix}.{name}" if prefix else name] = declared[name]
    return {name: roles[name] for name, _ in model.named_parameters()}
