"""The grid that a run is trained on: that of a published scheme (fake quantization), or of our own plan (plan noise).

In:   a recipe, and the shape of its model, or a model in training and its text.
Out:  the rule of each weight's row scales, or the step of each weight.

Letters: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import copy
import dataclasses
import math

import torch
from torch import Tensor

from bytecap.core.errors import BudgetError
from bytecap.core.products import bfloat16_operands
from bytecap.core.progress import Silent
from bytecap.fitting.job import Container
from bytecap.fitting.measure import measure
from bytecap.fitting.problem import build_problem
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import source_from_module
from bytecap.formats.plan import ScaleRule, TensorPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.steps import make_steps
from bytecap.model.gpt import GPT
from bytecap.model.roles import parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.published.scheme_plan import training_grids
from bytecap.quant.allocation import Shape
from bytecap.run.fits import keep_small
from bytecap.run.job import run_container, run_text
from bytecap.run.recipe import Recipe, fake_quantization_config
from bytecap.text.tokens import Tokens
from bytecap.train.hooks import plan_noise

PLANNED_BITS = 0.5
"""Least bits for each weight with which a run trains on the steps of its plan; rounding then takes half of what weights
vary by."""


def run_grids(recipe: Recipe, spec: ModelSpec) -> dict[str, ScaleRule]:
    """The grid of each weight that the scheme of the training quantizes; empty without fake quantization."""
    trained = fake_quantization_config(recipe)
    if trained is None:
        return {}
    return training_grids(trained.scheme, model_shapes(spec), keep_small(recipe), trained.step_scale)


def model_shapes(spec: ModelSpec) -> list[Shape]:
    """Name, role and shape of every weight of a model, which is not built for it."""
    with torch.device("meta"):
        model = GPT(spec)
    roles = parameter_roles(model)
    return [Shape(name, str(roles[name]), tuple(value.shape)) for name, value in model.named_parameters()]


def plan_steps(model: GPT, recipe: Recipe, tokens: Tokens, device: torch.device) -> dict[str, Tensor]:
    """The step that our fit would give each weight of `model` under the run's cap, of each matrix and table, (O, I).

    Measured, planned and estimated as at the end of a run, with nothing rounded; BudgetError where no file is so small.
    """
    source, calibration = source_from_module(model), None
    if recipe.quant.calibration_tokens:
        with bfloat16_operands(False), torch.enable_grad():
            calibration = measure(copy.deepcopy(model), run_text(recipe, tokens), recipe.quant, source.digest, Silent())
    container = run_container(recipe, tokens, source.digest)
    search = SizeSearch(build_problem(source, calibration, recipe.quant), container.packer(source))
    plan = search.problem.plan(search.predict(recipe.artifact.budget.file_bytes, Silent()).step_scale)
    return {tensor.name: _steps(tensor).to(device) for tensor in plan.tensors if tensor.format == ROW_COLUMN}


def refuse_small_plan(model: GPT, recipe: Recipe, container: Container) -> None:
    """Raise BudgetError before training where `plan_noise` would find no plan under the cap, or a useless one.

    It looks at weights drawn at random, which `model` holds afterwards: those that begin at zero take next to no bytes.
    """
    if plan_noise.NAME not in recipe.train.hooks:
        return
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(generator=generator)
    source, budget = source_from_module(model), recipe.artifact.budget
    # the recipe's digest changes with the cap, and the bytes that a digest takes in a compressed header with its digits
    provenance = dataclasses.replace(container.provenance, recipe_digest="0123456789abcdef")
    container = dataclasses.replace(container, provenance=provenance)
    smallest = SizeSearch(build_problem(source, None, recipe.quant), container.packer(source)).smallest().size_bytes
    weights = sum(value.numel() for value in model.parameters())
    needed = smallest + math.ceil(PLANNED_BITS / 8 * weights)
    if budget.file_bytes < needed:
        raise BudgetError(
            f"train.hooks.{plan_noise.NAME} trains on the steps of the file, and {budget.file_bytes:,} bytes are less "
            f"than {PLANNED_BITS} bits for each of {weights:,} weights, so steps are as wide as the weights; raise the "
            f"cap to {needed + budget.reserve_bytes:,} bytes at least, or leave the hook out",
            cap_bytes=budget.cap_bytes, needed_bytes=needed,
        )  # fmt: skip


def _steps(plan: TensorPlan) -> Tensor:
    return torch.from_numpy(make_steps(plan.base, *plan.codes())).view(plan.shape)
