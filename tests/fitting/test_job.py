"""What a fit needs is put together, and what it gives is refused where it is of no use."""

import dataclasses

import numpy as np
import pytest
import torch

from bytecap.artifact.pack import ArtifactConfig, Provenance
from bytecap.core.errors import BudgetError
from bytecap.core.progress import Silent
from bytecap.fitting.job import build_fitter, curvature_factors, fit_to_size, make_adaptive_damping, predict_useful
from bytecap.fitting.source import WeightSource, source_from_module
from bytecap.quant.allocation import QuantConfig, Shape
from bytecap.quant.calibration import calibrate
from bytecap.quant.rounding import round_with_feedback
from bytecap.quant.statistics import Calibration, Curvature
from tests.test_api import logits_and_labels_flat, trained


def test_errors_do_not_outgrow_the_weights() -> None:
    """A weight that hardly matters gets more damping, so that feedback cannot leave errors larger than it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 24)) + 1e-4 * rng.normal(size=(400, 24))
    g = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 20)) * 1e-4
    curvature = Curvature(
        inputs_II=np.float32(x.T @ x / 400), outputs=np.float32(g.T @ g / 400), gradient_square=1.0
    )  # fmt: skip
    weight = rng.normal(size=(20, 24)).astype(np.float32)
    source = WeightSource({"w": weight}, [Shape("w", "matrix", weight.shape)], "x", None)
    calibration = Calibration(made_from="x", tokens=1, loss=0.0, unigram=1.0, tensors={"w": curvature})
    config, step_scale = QuantConfig(), 1e-4
    plain = curvature_factors(source, calibration, config)["w"]
    adaptive_damping = make_adaptive_damping(source, calibration, config)("w", step_scale)
    assert adaptive_damping is not None and make_adaptive_damping(source, calibration, config)("w", 1e-9) is None
    errors = []
    for factors in (plain, adaptive_damping):
        steps = (step_scale * np.outer(factors.row_factors_O, factors.column_factors_I)).astype(np.float32)
        found = round_with_feedback(weight, steps, factors.inputs_II, factors.outputs, states=8)
        errors.append(np.sqrt(np.square(found.weights_OI - weight).mean()))
    assert errors[0] > 1.5 * errors[1] and errors[1] < 1.05 * weight.std(), errors


def test_a_weight_far_larger_than_the_others() -> None:
    """Where no size helps, the search for one ends."""
    model, batches = trained()
    with torch.no_grad():
        model.up.weight[0, 0] = 3e4
    source = source_from_module(model)
    calibration = calibrate(
        model, batches[:4], logits_and_labels_flat, made_from=source.digest, progress=Silent(), total_tokens=1
    )  # fmt: skip
    barely = dataclasses.replace(calibration, unigram=calibration.loss + 1e-9)
    about = Provenance(
        recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False, context=1
    )  # fmt: skip
    fitter = build_fitter(source, calibration, QuantConfig(), ArtifactConfig(cap_bytes=3500), None, about)
    with pytest.raises(BudgetError, match=r"and at [0-9,]+ still"):
        predict_useful(fitter, barely, 3500, Silent())


def test_what_comes_out_worse_than_promised_is_refused() -> None:
    """The loss of the real rounding counts, not only the one foretold; the size that would do is scaled by what was
    missed."""
    model, batches = trained()
    source = source_from_module(model)
    calibration = calibrate(
        model, batches[:4], logits_and_labels_flat, made_from=source.digest, progress=Silent(), total_tokens=1
    )  # fmt: skip
    about = Provenance(
        recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False, context=1
    )  # fmt: skip
    fitter = build_fitter(source, calibration, QuantConfig(), ArtifactConfig(cap_bytes=3000), None, about)
    predicted = predict_useful(fitter, calibration, 3000, Silent())
    result = fit_to_size(fitter, calibration, 3000, predicted, None, Silent())
    rosy = dataclasses.replace(predicted, loss=result.loss / 3)
    between = dataclasses.replace(calibration, unigram=calibration.loss + result.loss / 2)
    with pytest.raises(BudgetError, match="worse than token frequencies alone") as caught:
        fit_to_size(fitter, between, 3000, rosy, None, Silent())
    assert caught.value.values["useful_bytes"] > 3000
