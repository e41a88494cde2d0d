"""What a parameter is for. Optimizer group, default grid and coding section are tables keyed by role.

Every module that owns parameters declares `roles`, a table from its own parameter names to roles; nothing is routed
by a piece of a name. A parameter that is None is one that this model has not, and needs no role.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from torch import nn


class Role(StrEnum):
    """The kinds of parameters in use."""

    MATRIX = "matrix"
    """A linear map inside a block: many weights, coded coarsely."""
    EMBEDDING = "embedding"
    """The token table, also the output map when tied."""
    HEAD = "head"
    """The output map when it is not tied to the token table."""
    SCALAR = "scalar"
    """Gains, scales and mixes: few and sensitive: one step for the tensor."""


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """Role of each parameter by full name, in the model's order.

    TypeError for a module whose `roles` do not name exactly its own parameters: a mistake of whoever wrote it.
    """
    roles: dict[str, Role] = {}
    for prefix, module in model.named_modules():
        declared = {n: role for n, role in getattr(module, "roles", {}).items() if getattr(module, n, role) is not None}
        own = [name for name, _ in module.named_parameters(recurse=False)]
        if set(own) != set(declared) or not all(isinstance(role, Role) for role in declared.values()):
            given = ", ".join(f"{name}: {role}" for name, role in declared.items())
            raise TypeError(
                f"{type(module).__name__} has the parameters {', '.join(own) or 'none'}, and its `roles` give "
                f"{given or 'none'}; give each parameter one of {', '.join(f'Role.{role.name}' for role in Role)}"
            )
        for name in own:
            roles[f"{prefix}.{name}" if prefix else name] = declared[name]
    return {name: roles[name] for name, _ in model.named_parameters()}


def refuse_unknown_roles(roles: Mapping[str, str], known: Collection[str], where: str) -> None:
    """Raise a TypeError that names role and parameters, where a table keyed by role has no entry for one of `roles`."""
    for role in dict.fromkeys(roles.values()):
        if role not in known:
            names = ", ".join(name for name, its in roles.items() if its == role)
            raise TypeError(f"{where} has no entry for the role {role!s} of {names}; add one")
