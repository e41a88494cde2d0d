"""The grid that a run is trained on, where its recipe asks for fake quantization.

In:   a recipe, and the shape of its model.
Out:  the rule of each weight's row scales.
"""

from __future__ import annotations

import torch

from bytecap.formats.plan import ScaleRule
from bytecap.model.gpt import GPT
from bytecap.model.roles import parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.published.scheme_plan import training_grids
from bytecap.quant.allocation import Shape
from bytecap.run.finishes import keep_small
from bytecap.run.recipe import Recipe, fake_quantization_config


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
