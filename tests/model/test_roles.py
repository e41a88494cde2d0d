"""Roles are complete, or the contributor is told what to add."""

import pytest
from torch import nn

from bytecap.model.layers import Linear
from bytecap.model.roles import Role, parameter_roles, refuse_unknown_roles


def made_up_role() -> Role:
    """A fourth role, as somebody might add one."""
    role = str.__new__(Role, "router")
    role._name_, role._value_ = "ROUTER", "router"
    return role


def test_a_mistake_names_parameters_and_roles() -> None:
    """Forgotten, superfluous, and not a role."""
    for roles in ({}, {"weight": Role.MATRIX, "bias": Role.SCALAR}, {"weight": "matrix"}):
        module = Linear(2, 3)
        module.roles = roles  # type: ignore[misc, assignment]
        with pytest.raises(TypeError, match=r"Linear has the parameters weight, and its `roles` give .*Role\.MATRIX"):
            parameter_roles(nn.Sequential(module))


def test_a_parameter_that_is_none_needs_no_role() -> None:
    """A model without it is whole."""
    module = Linear(2, 3)
    module.weight = None  # type: ignore[assignment]
    assert parameter_roles(nn.Sequential(module)) == {}


def test_a_role_without_an_entry() -> None:
    """Named with its parameters and with the table that lacks it."""
    roles = {"a": Role.MATRIX, "b.gate": made_up_role(), "c.gate": made_up_role()}
    with pytest.raises(TypeError, match=r"train/x\.py has no entry for the role router of b\.gate, c\.gate; add one"):
        refuse_unknown_roles(roles, set(Role), "train/x.py")
    refuse_unknown_roles(roles, {*Role, made_up_role()}, "train/x.py")
