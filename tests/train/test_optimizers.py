"""Roles decide who moves a parameter."""

import pytest
import torch

from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, parameter_roles
from bytecap.train.optimizers import OptimizerConfig, Optimizers
from tests.model.test_gpt import SPEC
from tests.model.test_roles import made_up_role


def test_groups_follow_roles() -> None:
    """Matrices go to Muon, the rest to AdamW with its own rate; every parameter exactly once."""
    model = GPT(SPEC)
    config = OptimizerConfig(matrix_lr=1.0, embedding_lr=2.0, scalar_lr=3.0, warmdown=0.5, floor=0.0)
    optimizers = Optimizers(model, config, torch.device("cpu"))
    rates = {
        id(p): group["lr"]
        for o in (optimizers.muon, optimizers.adamw)
        for group in o.param_groups
        for p in group["params"]
    }
    expected = {Role.MATRIX: 1.0, Role.EMBEDDING: 2.0, Role.SCALAR: 3.0}
    roles = parameter_roles(model)
    assert {name: rates[id(p)] for name, p in model.named_parameters()} == {n: expected[r] for n, r in roles.items()}
    optimizers.step(0.75)
    assert optimizers.matrix_rate(0.75) == 0.5 == optimizers.muon.param_groups[0]["lr"]
    assert [group["lr"] for group in optimizers.adamw.param_groups] == [1.0, 1.5]


def test_a_role_that_no_optimizer_moves_is_an_error() -> None:
    """Named with its parameters, instead of weights that stay as they began."""
    model = GPT(SPEC)
    model.techniques["residual_mix"].roles = {"mix_L2D": made_up_role()}  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"optimizers\.py has no entry for the role router of techniques\.residual_mix"):
        Optimizers(model, OptimizerConfig(), torch.device("cpu"))
