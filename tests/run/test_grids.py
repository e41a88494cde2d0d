"""The grid of training is the grid of the file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bytecap.core.errors import BudgetError, ConfigError
from bytecap.fitting.job import Container
from bytecap.fitting.source import source_from_module
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.published.scheme_plan import SchemeOptions, scheme_plan
from bytecap.run import recipe as recipes
from bytecap.run.grids import model_shapes, plan_steps, refuse_small_plan, run_grids
from bytecap.run.job import build_provenance
from bytecap.run.recipe import Recipe
from bytecap.text.tokens import load_tokens
from bytecap.train.row_grid import round_to_grid

GOLDEN = Path(__file__).parents[1] / "golden" / "run_0_1"
HOOK = "train.hooks.fake_quantization"


def resolve(*overrides: str) -> Recipe:
    return recipes.resolve("baseline", track="laptop", overrides=list(overrides))


@pytest.mark.parametrize("scheme", ["int8", "pr65", "pr219"])
def test_the_grid_is_that_of_the_plan(scheme: str) -> None:
    """Tensor by tensor the rule by which the scheme makes a file of the finished weights, small ones left out."""
    recipe = resolve(f"{HOOK}.scheme={scheme}")
    spec = ModelSpec.of(recipe.model, recipe.text.vocab_size)
    torch.manual_seed(0)
    source = source_from_module(GPT(spec))
    assert model_shapes(spec) == source.shapes
    plan = scheme_plan(SchemeOptions(scheme, keep_small=spec.d_model**2 // 4), source.shapes, None, "x")
    grids = run_grids(recipe, spec)
    assert grids == {tensor.name: tensor.rule for tensor in plan.tensors if tensor.rule is not None}
    assert {"embedding", "blocks.0.attention.query.weight", "blocks.0.mlp.up.weight"} <= grids.keys()
    weight = source.weights["embedding"]
    again = round_to_grid(round_to_grid(torch.from_numpy(weight), grids["embedding"]), grids["embedding"])
    assert np.isfinite(again.numpy()).all()


def test_no_hook_no_grid() -> None:
    """Nothing is trained on a grid unless a recipe says so."""
    recipe = resolve()
    assert run_grids(recipe, ModelSpec.of(recipe.model, 300)) == {}


def test_other_steps() -> None:
    """Wider ones, as a file that must shrink has; a scheme that has none of its own needs them."""
    recipe = resolve(f"{HOOK}.scheme=best_published", f"{HOOK}.step_scale=0.5")
    rule = run_grids(recipe, ModelSpec.of(recipe.model, 300))["blocks.0.mlp.up.weight"]
    assert rule.amount / rule.levels * rule.step_scale == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="scheme best_published has no steps of its own; set step_scale"):
        resolve(f"{HOOK}.scheme=best_published")


def test_another_scheme_for_the_file_is_refused() -> None:
    """With both keys; our own fit takes any weights."""
    both = rf"{HOOK}\.scheme is pr65 and artifact\.scheme is int8"
    with pytest.raises(ConfigError, match=both):
        resolve(f"{HOOK}.scheme=pr65", "artifact.scheme=int8")
    assert resolve(f"{HOOK}.scheme=pr65", "artifact.scheme=pr65").artifact.scheme == "pr65"
    assert resolve(f"{HOOK}.scheme=pr65").artifact.scheme == ""


@pytest.mark.parametrize("scheme", ["pr332", "int4_group64"])
def test_grids_that_training_cannot_know(scheme: str) -> None:
    """Ranks of the finished weights, groups of columns: refused when the recipe is read."""
    with pytest.raises(ConfigError, match=rf"the grid of scheme {scheme} .* choose one of .*int8, pr65, pr219"):
        resolve(f"{HOOK}.scheme={scheme}")
    with pytest.raises(ConfigError, match="there is no scheme"):
        resolve(f"{HOOK}.scheme=pr66")


@pytest.mark.parametrize("calibration_tokens", [512, 0])
def test_steps_of_our_own_plan(calibration_tokens: int) -> None:
    """One step for each weight of what is stored by rows and columns; no weight moves, no gradient is left."""
    tokens = load_tokens(GOLDEN / "tokens")
    spec = ModelSpec(vocab_size=tokens.vocab_size, n_layers=2, d_model=16, n_heads=1, n_kv_heads=1, d_ff=16)
    torch.manual_seed(0)
    model = GPT(spec)
    recipe = resolve("artifact.cap_bytes=7000", f"quant.calibration_tokens={calibration_tokens}")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found, weights = plan_steps(model, recipe, tokens, torch.device("cpu")), dict(model.named_parameters())
    assert {"embedding", "blocks.0.mlp.up.weight"} <= found.keys()
    assert all(steps.shape == weights[name].shape and bool((steps > 0).all()) for name, steps in found.items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in weights.values())


def test_plan_noise_is_refused_beside_a_scheme() -> None:
    """The file would have another grid: both keys are named."""
    with pytest.raises(ConfigError, match=r"train\.hooks\.plan_noise is on.*artifact\.scheme is int8"):
        resolve("train.hooks.plan_noise=true", "artifact.scheme=int8")


def test_a_cap_too_small_for_the_noise_is_refused_before_training() -> None:
    """With the cap that would do; without the hook, and with that cap, nothing is said."""
    shape = ("model.n_layers=2", "model.d_model=16", "model.d_ff=32", "train.hooks.plan_noise.start=0.5")
    model = GPT(ModelSpec.of(resolve(*shape).model, 300))

    def refuse(cap_bytes: int, *overrides: str) -> None:
        recipe = resolve(*overrides, f"artifact.cap_bytes={cap_bytes}", "artifact.reserve_bytes=100")
        refuse_small_plan(model, recipe, Container(build_provenance(recipe, None, "", ""), recipe.artifact, None))

    with pytest.raises(BudgetError, match=r"plan_noise trains on the steps .* raise the cap to [\d,]+ bytes") as told:
        refuse(900, *shape)
    enough = told.value.values["needed_bytes"] + 100
    assert f"to {enough:,} bytes" in str(told.value)
    refuse(enough, *shape)
    refuse(900, *shape[:3])
    with pytest.raises(BudgetError):
        refuse(enough - 1, *shape)
