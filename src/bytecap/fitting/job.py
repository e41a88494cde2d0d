"""Any checkpoint under any cap: measure, decide, round, land.

In:   weights with their model where it is known, text or batches to measure on, a cap.
Out:  a `.bcap` file and what is known about the fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bytecap.artifact.load import Artifact, loads
from bytecap.artifact.pack import ArtifactConfig, Provenance, pack
from bytecap.core.digest import digest_json
from bytecap.core.errors import BackendError, BudgetError
from bytecap.core.progress import Progress
from bytecap.fitting.measure import make_adaptation, measure
from bytecap.fitting.size_search import FitResult, Fitter, Prediction, StartAdaptation
from bytecap.fitting.source import WeightSource
from bytecap.formats.tensor import QuantizedModel
from bytecap.model.renames import current_name
from bytecap.model.roles import Role
from bytecap.published.scheme_fitter import SchemeResult
from bytecap.quant.allocation import STEP_MSE, PerTensorStep, QuantConfig, Shape, per_tensor_step
from bytecap.quant.calibration_file import load_calibration, save_calibration
from bytecap.quant.factors import Factors, build_factors
from bytecap.quant.statistics import Calibration
from bytecap.run import recipe as recipes
from bytecap.run.folder import CALIBRATION, RECIPE
from bytecap.run.recipe import Recipe
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokens import Tokens


def curvature_factors(source: WeightSource, calibration: Calibration | None, config: QuantConfig) -> dict[str, Factors]:
    """Factors of every measured weight; without a calibration one step serves all matrices alike."""
    factors = {}
    for entry in source.shapes:
        if len(entry.shape) < 2 or math.prod(entry.shape[2:]) != 1:
            continue
        if calibration is None:
            if entry.role != Role.SCALAR:
                rows, columns = entry.shape[:2]
                factors[entry.name] = Factors(np.eye(columns), np.ones(rows))
        elif entry.name in calibration.tensors:
            factors[entry.name] = _factors(entry, calibration, config, config.damping)
    return factors


def _factors(entry: Shape, calibration: Calibration, config: QuantConfig, damping: float) -> Factors:
    """Rows of an embedding have a damping of their own and take up no errors of each other."""
    embedding = entry.role == Role.EMBEDDING
    row_damping, two_sided = config.embedding_damping if embedding else None, config.two_sided and not embedding
    curvature = calibration.tensors[entry.name]
    return build_factors(entry.name, curvature, damping=damping, row_damping=row_damping, two_sided=two_sided)


def build_fitter(
    source: WeightSource,
    calibration: Calibration | None,
    config: QuantConfig,
    artifact: ArtifactConfig,
    tokenizer: Tokenizer | None,
    about: Provenance,
) -> Fitter:
    """Everything a fit needs, ready for any number of caps."""

    def packed(model: QuantizedModel) -> bytes:
        return pack(source.spec, model, b"" if tokenizer is None else tokenizer.model, about, artifact)

    factors = curvature_factors(source, calibration, config)
    adaptive_damping = None if calibration is None else make_adaptive_damping(source, calibration, config)
    vectors = per_tensor_steps(source, calibration)
    return Fitter(source.weights, source.shapes, factors, config, source.digest, packed, adaptive_damping, vectors)


def per_tensor_steps(source: WeightSource, calibration: Calibration | None) -> dict[str, PerTensorStep]:
    """Steps of what is no matrix, where the calibration says how much the loss minds it."""
    steps = {}
    for name, fisher in ({} if calibration is None else calibration.vectors).items():
        weight = source.weights.get(name)
        step = (
            None
            if weight is None
            else per_tensor_step(fisher, float(np.sqrt(np.mean(np.square(weight, dtype=np.float64)))))
        )
        if step is not None:
            steps[name] = step
    return steps


def make_adaptive_damping(
    source: WeightSource, calibration: Calibration, config: QuantConfig
) -> Callable[[str, float], Factors | None]:
    """More damping for weights that matter so little that κ would let their errors outgrow the weights themselves.

    In a direction without curvature feedback leaves errors of about κ² c / (δ² ā ḡ), c = 0.28 for a trellis: not more
    than the mean square σ² of the weights if δ = sqrt(c κ² / (σ² ā ḡ)). Never less than `quant.damping` (docs/fit.md).
    """
    shapes = {entry.name: entry for entry in source.shapes}

    def adaptive_damping(name: str, step_scale: float) -> Factors | None:
        entry = calibration.tensors[name]
        curvature = float(np.diagonal(entry.inputs_II).mean()) * float(entry.outputs_diagonal_O.mean())
        square = float(np.square(source.weights[name], dtype=np.float64).mean())
        needed = min(step_scale * math.sqrt(STEP_MSE / max(curvature * square, 1e-60)), 1.0)
        if needed <= 1.2 * config.damping:
            return None
        return _factors(shapes[name], calibration, config, needed)

    return adaptive_damping


def predict_useful(fitter: Fitter, calibration: Calibration | None, cap_bytes: int, progress: Progress) -> Prediction:
    """What the cap will give; BudgetError when such a model would be worse than token frequencies alone."""
    predicted = fitter.predict_for_size(cap_bytes, progress)
    _refuse_worse_than_unigram(fitter, calibration, cap_bytes, predicted, predicted.loss)
    return predicted


def fit_to_size(
    fitter: Fitter, calibration: Calibration | None, cap_bytes: int, predicted: Prediction,
    start_adaptation: StartAdaptation | None,
    progress: Progress,
) -> FitResult:  # fmt: skip
    """The largest file under the cap; BudgetError when it came out worse than token frequencies alone."""
    result = fitter.fit_to_size(cap_bytes, progress, predicted, start_adaptation)
    _refuse_worse_than_unigram(fitter, calibration, cap_bytes, predicted, result.loss)
    return result


def _refuse_worse_than_unigram(
    fitter: Fitter, calibration: Calibration | None, cap_bytes: int, predicted: Prediction, loss: float
) -> None:
    if calibration is None or calibration.unigram <= calibration.loss:
        return
    room, missed, enough = (
        calibration.unigram - calibration.loss,
        max(loss / max(predicted.loss, 1e-12), 1.0),
        predicted,
    )
    if loss <= room:
        return
    while enough.loss * missed > room:
        finer = fitter.predict(enough.step_scale / 2**0.25)
        if finer.size_bytes <= enough.size_bytes:
            raise BudgetError(
                f"at {cap_bytes:,} bytes the fitted model would be worse than token frequencies alone, and at "
                f"{enough.size_bytes:,} still: some weights are so much larger than others of their tensor that 16-bit "
                "integers do not reach them. Train the model longer, or remove the outliers",
                cap_bytes=cap_bytes,
            )
        enough = finer
    raise BudgetError(
        f"at {cap_bytes:,} bytes the fitted model would lose about {loss:.2f} nats per token more than the "
        f"original's {calibration.loss:.2f}, and be worse than token frequencies alone ({calibration.unigram:.2f}); "
        f"from about {enough.size_bytes:,} bytes it is not. Raise the cap or train a smaller model",
        useful_bytes=enough.size_bytes,
        cap_bytes=cap_bytes,
    )


# ---- a run of ours ----


def load_or_measure_calibration(
    recipe: Recipe, tokens: Tokens, folder: Path, source: WeightSource, progress: Progress
) -> Calibration | None:
    """Measured once for all caps and kept in the folder; None where the recipe asks for none.

    One with other settings than the folder's own recipe has is not kept.
    """
    path = folder / CALIBRATION
    if recipe.quant.calibration_tokens == 0 or source.model is None:
        return None
    measured_on = _measured_on(recipe, tokens)
    if path.exists():
        saved = load_calibration(path, source.digest)
        vectors = {current_name(n, source.model.spec.techniques): value for n, value in saved.vectors.items()}
        saved = dataclasses.replace(saved, vectors=vectors)
        if saved.measured_on == measured_on:
            return saved
        progress.note("the calibration in this folder is of other text or settings; measured again")
    found = measure(
        source.model, tokens.train_stream(), tokens.tokenizer.bos,
        recipe.quant, context=recipe.train.context, seed=recipe.run.seed, digest=source.digest, progress=progress,
    )  # fmt: skip
    found = dataclasses.replace(found, measured_on=measured_on)
    if measured_on == _measured_on(recipes.load(folder / RECIPE), tokens):
        try:
            save_calibration(path, found)
        except BackendError:
            progress.note(f"the calibration cannot be kept in {folder}, so the next fit measures again")
    return found


def _measured_on(recipe: Recipe, tokens: Tokens) -> str:
    """Digest of everything that a calibration follows beside the checkpoint."""
    wanted = recipe.quant.calibration_tokens, recipe.quant.labels, recipe.train.context, recipe.run.seed
    return digest_json([tokens.digest, *wanted])


def run_fitter(recipe: Recipe, tokens: Tokens, source: WeightSource, calibration: Calibration | None) -> Fitter:
    """The fitter of a run, with its provenance."""
    about = build_provenance(recipe, tokens.tokenizer, tokens.corpus_digest, source.digest)
    return build_fitter(source, calibration, recipe.quant, recipe.artifact, tokens.tokenizer, about)


def run_adaptation(recipe: Recipe, tokens: Tokens, source: WeightSource) -> StartAdaptation | None:
    """The distillation that a run's recipe asks for."""
    if source.model is None:
        return None
    return make_adaptation(
        source.model, tokens.train_stream(), tokens.tokenizer.bos, recipe.quant,
        context=recipe.train.context, seed=recipe.run.seed,
    )  # fmt: skip


def build_provenance(recipe: Recipe, tokenizer: Tokenizer, corpus_digest: str, checkpoint_digest: str) -> Provenance:
    """What the file of a run says about where it comes from."""
    assert recipe.score.context is not None, "a resolved recipe knows its context"
    return Provenance(
        recipe_digest=recipe.digest,
        corpus_digest=corpus_digest,
        checkpoint_digest=checkpoint_digest,
        tokenizer_digest=tokenizer.digest,
        lossless=tokenizer.lossless,
        context=recipe.score.context,
    )


def read_back(result: FitResult | SchemeResult) -> Artifact:
    """What anybody will read out of the file: the weights that went into it, to the last bit."""
    artifact = loads(result.data)
    found, wanted = artifact.quantized.state_dict(), result.model.state_dict()
    if found.keys() != wanted.keys() or not all(torch.equal(found[name], value) for name, value in wanted.items()):
        raise RuntimeError("the file does not give back the weights that went into it")
    return artifact


def fit_report(result: FitResult | SchemeResult, cap_bytes: int | None, reserve_bytes: int) -> dict[str, Any]:
    """What `model.fit.json` says of a fit, as JSON values; without a cap, of a scheme's own size."""
    unused = None if cap_bytes is None else cap_bytes - reserve_bytes - len(result.data)
    whole = sum(result.losses.values()) or 1.0
    return {
        "scheme": result.plan.scheme,
        "bytes": len(result.data),
        "cap_bytes": cap_bytes,
        "reserve_bytes": reserve_bytes,
        "unused_bytes": unused,
        "predicted_bytes": result.predicted_bytes,
        "predicted_increase_nats": result.loss,
        "step_scale": result.plan.step_scale,
        "roundings": result.roundings,
        "loss_shares": {name: loss / whole for name, loss in result.losses.items()},
        "made_from": result.plan.made_from,
    }
