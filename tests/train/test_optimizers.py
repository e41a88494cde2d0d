"""Roles decide who moves a parameter."""

import dataclasses
import math

import pytest
import torch

from bytecap.core.errors import ConfigError, DataError
from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, parameter_roles
from bytecap.train.config import TrainConfig
from bytecap.train.optimizers import OptimizerConfig, Optimizers
from tests.model.test_gpt import SPEC
from tests.model.test_roles import made_up_role


def test_groups_follow_roles() -> None:
    """Matrices go to Muon, the rest to AdamW with its own rate; every parameter exactly once."""
    model = GPT(dataclasses.replace(SPEC, tied=False))
    config = OptimizerConfig(matrix_lr=1.0, embedding_lr=2.0, head_lr=4.0, scalar_lr=3.0, warmdown=0.5, floor=0.0)
    optimizers = Optimizers(model, config)
    rates = {
        id(p): group["lr"]
        for o in (optimizers.muon, optimizers.adamw)
        for group in o.param_groups
        for p in group["params"]
    }
    expected = {Role.MATRIX: 1.0, Role.EMBEDDING: 2.0, Role.HEAD: 4.0, Role.SCALAR: 3.0}
    roles = parameter_roles(model)
    assert {name: rates[id(p)] for name, p in model.named_parameters()} == {n: expected[r] for n, r in roles.items()}
    optimizers.step(0.75)
    assert optimizers.matrix_rate(0.75) == 0.5 == optimizers.muon.param_groups[0]["lr"]
    assert [group["lr"] for group in optimizers.adamw.param_groups] == [1.0, 2.0, 1.5]
    tied = Optimizers(GPT(SPEC), OptimizerConfig())
    assert [group["lr"] for group in tied.adamw.param_groups] == [0.05, 0.04]  # no group without parameters


def test_a_role_that_no_optimizer_moves_is_an_error() -> None:
    """Named with its parameters, instead of weights that stay as they began."""
    model = GPT(SPEC)
    model.techniques["residual_mix"].roles = {"mix_L2D": made_up_role()}  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"optimizers\.py has no entry for the role router of techniques\.residual_mix"):
        Optimizers(model, OptimizerConfig())


def test_settings_of_a_head_need_one() -> None:
    """Naming both settings; without them, and for a model that has a head, nothing is said."""
    rate, decay = OptimizerConfig(head_lr=0.1), OptimizerConfig(head_weight_decay=0.1)
    for name, config in (("head_lr", rate), ("head_weight_decay", decay)):
        with pytest.raises(ConfigError, match=rf"train\.optimizer\.{name} is 0\.1, and with model\.tied = true"):
            TrainConfig(optimizer=config).check_hooks(SPEC)
        TrainConfig(optimizer=config).check_hooks(dataclasses.replace(SPEC, tied=False))
    TrainConfig().check_hooks(SPEC)


def with_gradients() -> GPT:
    torch.manual_seed(0)
    model = GPT(SPEC)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


def test_adamw_equals_the_formula_for_clip_decay_and_eps() -> None:
    """First step of the embedding and of a scale: clipped gradient, decay by role, eps; entry by entry."""
    config = OptimizerConfig(
        embedding_lr=0.5,
        scalar_lr=0.25,
        embedding_weight_decay=0.1,
        scalar_weight_decay=0.2,
        clip_norm=0.3,
        adam_eps=0.01,
    )
    model = with_gradients()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    length = math.sqrt(sum(g.double().square().sum().item() for g in gradients.values()))
    Optimizers(model, config).step(0.0)
    after = dict(model.named_parameters())
    for name, rate, decay in (("embedding", 0.5, 0.1), ("blocks.0.mlp_scale", 0.25, 0.2)):
        for old, new, gradient in zip(
            before[name].flatten(), after[name].flatten(), gradients[name].flatten(), strict=True
        ):
            g = gradient.item() * 0.3 / length
            expected = old.item() * (1 - rate * decay) - rate * g / (abs(g) + 0.01)
            assert new.item() == pytest.approx(expected, abs=1e-5)


def test_short_gradients_are_not_clipped_and_matrix_decay_ramps() -> None:
    """A clip above the norm changes nothing; the group's decay follows its schedule."""
    plain, clipped = with_gradients(), with_gradients()
    config = OptimizerConfig(matrix_weight_decay=0.02, matrix_weight_decay_end=0.08, warmdown=0.5)
    optimizers = Optimizers(plain, config)
    optimizers.step(0.75)
    assert optimizers.muon.param_groups[0]["weight_decay"] == pytest.approx(0.05)
    Optimizers(clipped, dataclasses.replace(config, clip_norm=1e6)).step(0.75)
    for one, other in zip(plain.parameters(), clipped.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_taper_from_a_fraction_of_the_run_on() -> None:
    """Matrix decay to half after 70 %, whatever the warmdown."""
    config = OptimizerConfig(
        matrix_weight_decay=0.1, matrix_weight_decay_end=0.05, decay_ramp="linear", decay_ramp_start=0.7, warmdown=0.0
    )
    optimizers = Optimizers(with_gradients(), config)
    found = []
    for progress in (0.5, 0.7, 0.85, 1.0):
        optimizers.step(progress)
        found.append(optimizers.muon.param_groups[0]["weight_decay"])
    assert found == pytest.approx([0.1, 0.1, 0.075, 0.05])
    with pytest.raises(ConfigError, match=r"decay_ramp_start is 0\.7, and without .*matrix_weight_decay_end nothing"):
        OptimizerConfig(decay_ramp_start=0.7)


def test_a_ramp_without_a_warmdown_is_refused() -> None:
    """It would change nothing."""
    with pytest.raises(ConfigError, match=r"matrix_weight_decay_end is 0\.08, .*optimizer\.warmdown is 0; raise"):
        OptimizerConfig(matrix_weight_decay_end=0.08, warmdown=0.0)


@pytest.mark.parametrize("state", ["blocks.0.attention.query.weight/momentum", "nothing/momentum", "nothing"])
def test_the_state_of_another_model_is_refused(state: str) -> None:
    """By name and shape, with what to do."""
    optimizers = Optimizers(GPT(SPEC), OptimizerConfig())
    with pytest.raises(DataError, match=r"optimizer state .* of shape \(3,\).*delete the checkpoint"):
        optimizers.load_state_tensors({state: torch.zeros(3)})
