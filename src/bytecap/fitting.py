"""Any checkpoint under any cap: measure, decide, round, land.

In:   weights with their model where it is known, text or batches to measure on, a cap.
Out:  a `.bcap` file and what is known about the fit.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bytecap import recipe as recipes
from bytecap.artifact.load import Artifact, load, loads
from bytecap.artifact.pack import ArtifactConfig, Provenance, pack
from bytecap.core.digest import digest_bytes, digest_of
from bytecap.core.errors import BackendError, BudgetError, ConfigError
from bytecap.core.progress import Progress, Silent
from bytecap.core.units import parse_bytes
from bytecap.folder import CALIBRATION, RECIPE
from bytecap.grids.tensor import MOST_EVEN, QuantizedModel
from bytecap.measuring import adapting_of, measure
from bytecap.model.roles import Role
from bytecap.quant.allocation import ERROR_OF_A_STEP, MODEL, EvenStep, QuantConfig, Shape, even_step
from bytecap.quant.calibration import calibrate, evaluating, load_calibration, save_calibration
from bytecap.quant.distillation import Distiller
from bytecap.quant.factors import Factors, factors_of
from bytecap.quant.landing import Adapting, Fitter, Landed, Prediction
from bytecap.quant.scheme_fit import Schemed
from bytecap.quant.statistics import Calibration
from bytecap.recipe import Recipe
from bytecap.subject import Subject, subject_of
from bytecap.text.byte_counts import is_lossless
from bytecap.text.tokenizer import load_tokenizer
from bytecap.text.tokens import Tokens

LEAST_LOSS = 1e-3
"""Nats by which the loss of a position may be negative, from rounding."""


def curvature_factors(subject: Subject, calibration: Calibration | None, config: QuantConfig) -> dict[str, Factors]:
    """Factors of every measured weight; without a calibration one step serves all matrices alike."""
    factors = {}
    for entry in subject.shapes:
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
    return factors_of(entry.name, curvature, damping=damping, row_damping=row_damping, two_sided=two_sided)


def fitter_of(
    subject: Subject,
    calibration: Calibration | None,
    config: QuantConfig,
    artifact: ArtifactConfig,
    tokenizer: bytes,
    about: Provenance,
) -> Fitter:
    """Everything a fit needs, ready for any number of caps."""

    def packed(model: QuantizedModel) -> bytes:
        return pack(subject.spec, model, tokenizer, about, artifact)

    factors = curvature_factors(subject, calibration, config)
    damped = None if calibration is None else damping_rule(subject, calibration, config)
    vectors = vector_steps(subject, calibration)
    return Fitter(subject.weights, subject.shapes, factors, config, subject.digest, packed, damped, vectors)


def vector_steps(subject: Subject, calibration: Calibration | None) -> dict[str, EvenStep]:
    """Steps of what is no matrix, where the calibration says how much the loss minds it."""
    steps = {}
    for name, fisher in ({} if calibration is None else calibration.vectors).items():
        weight = subject.weights.get(name)
        step = (
            None if weight is None else even_step(fisher, float(np.sqrt(np.mean(np.square(weight, dtype=np.float64)))))
        )
        if step is not None:
            steps[name] = step
    return steps


def damping_rule(
    subject: Subject, calibration: Calibration, config: QuantConfig
) -> Callable[[str, float], Factors | None]:
    """More damping for weights that matter so little that κ would let their errors outgrow the weights themselves.

    In a direction without curvature feedback leaves errors of about κ² c / (δ² ā ḡ), c = 0.28 for a trellis: not more
    than the mean square σ² of the weights if δ = sqrt(c κ² / (σ² ā ḡ)). Never less than `quant.damping` (docs/fit.md).
    """
    shapes = {entry.name: entry for entry in subject.shapes}

    def damped(name: str, kappa: float) -> Factors | None:
        entry = calibration.tensors[name]
        curvature = float(np.diagonal(entry.inputs_II).mean()) * float(entry.outputs_diagonal_O.mean())
        square = float(np.square(subject.weights[name], dtype=np.float64).mean())
        needed = min(kappa * math.sqrt(ERROR_OF_A_STEP / max(curvature * square, 1e-60)), 1.0)
        if needed <= 1.2 * config.damping:
            return None
        return _factors(shapes[name], calibration, config, needed)

    return damped


def refuse_useless(fitter: Fitter, calibration: Calibration | None, cap_bytes: int, progress: Progress) -> Prediction:
    """What the cap will give; BudgetError when such a model would be worse than token frequencies alone."""
    aimed = fitter.aim(cap_bytes, progress)
    if calibration is None or calibration.unigram <= calibration.loss:
        return aimed
    room = calibration.unigram - calibration.loss
    if aimed.loss <= room:
        return aimed
    enough = aimed
    while enough.loss > room:
        finer = fitter.predict(enough.kappa / 2**0.25)
        if finer.size_bytes <= enough.size_bytes:
            raise BudgetError(
                f"at {cap_bytes:,} bytes the fitted model would be worse than token frequencies alone, and at "
                f"{enough.size_bytes:,} still: some weights are so much larger than others of their tensor that 16-bit "
                "integers do not reach them. Train the model longer, or remove the outliers",
                cap_bytes=cap_bytes,
            )
        enough = finer
    raise BudgetError(
        f"at {cap_bytes:,} bytes the fitted model would lose about {aimed.loss:.2f} nats per token more than the "
        f"original's {calibration.loss:.2f}, and be worse than token frequencies alone ({calibration.unigram:.2f}); "
        f"from about {enough.size_bytes:,} bytes it is not. Raise the cap or train a smaller model",
        useful_bytes=enough.size_bytes,
        cap_bytes=cap_bytes,
    )


# ---- a run of ours ----


def calibration_of(
    recipe: Recipe, tokens: Tokens, folder: Path, subject: Subject, progress: Progress
) -> Calibration | None:
    """Measured once for all caps and kept in the folder; None where the recipe asks for none.

    One with other settings than the folder's own recipe has is not kept.
    """
    path = folder / CALIBRATION
    if recipe.quant.calibration_tokens == 0 or subject.model is None:
        return None
    measured_on = _measured_on(recipe, tokens)
    if path.exists():
        saved = load_calibration(path, subject.digest)
        if saved.measured_on == measured_on:
            return saved
        progress.note("the calibration in this folder is of other text or settings; measured again")
    found = measure(
        subject.model, tokens.train_stream(), load_tokenizer(tokens.tokenizer_model()).bos_id(),
        recipe.quant, context=recipe.train.context, seed=recipe.run.seed, digest=subject.digest, progress=progress,
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
    return digest_of([tokens.digest, *wanted])


def run_fitter(recipe: Recipe, tokens: Tokens, subject: Subject, calibration: Calibration | None) -> Fitter:
    """The fitter of a run, with its provenance."""
    tokenizer = tokens.tokenizer_model()
    about = provenance_of(recipe, tokenizer, tokens.corpus_digest, subject.digest)
    return fitter_of(subject, calibration, recipe.quant, recipe.artifact, tokenizer, about)


def run_adapting(recipe: Recipe, tokens: Tokens, subject: Subject) -> Adapting | None:
    """The distillation that a run's recipe asks for."""
    if subject.model is None:
        return None
    return adapting_of(
        subject.model, tokens.train_stream(), load_tokenizer(tokens.tokenizer_model()).bos_id(), recipe.quant,
        context=recipe.train.context, seed=recipe.run.seed,
    )  # fmt: skip


def provenance_of(recipe: Recipe, tokenizer: bytes, corpus_digest: str, checkpoint_digest: str) -> Provenance:
    """What the file of a run says about where it comes from."""
    assert recipe.score.context is not None, "a resolved recipe knows its context"
    return Provenance(
        recipe_digest=recipe.digest,
        corpus_digest=corpus_digest,
        checkpoint_digest=checkpoint_digest,
        tokenizer_digest=digest_bytes(tokenizer),
        lossless=is_lossless(load_tokenizer(tokenizer)),
        context=recipe.score.context,
    )


# ---- for any torch module ----


def fit(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    loss: Callable[[nn.Module, Any], Any],
    cap_bytes: int | str,
    config: QuantConfig | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Artifact:
    """The least loss of any `torch.nn.Module` in `cap_bytes` bytes.

    Weights that are used by linear maps, convolutions of width 1 and embeddings are quantized, tied or not; all else is
    rounded to one even step for each tensor, or stored at 16 bits where the loss does not reach it or it has more than
    2^20 numbers. Buffers of the state dict are kept exactly.
    `loss(model, batch)` returns (logits (N, V), labels (N,)), and labels are drawn from the model; or a tensor with the
    loss of each position in nats, and the data's labels are used. Read the file back with `bytecap.load_state_dict`.
    Raises BudgetError when the cap cannot be met.
    """
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ConfigError("the model is no torch module with parameters, so there is nothing to fit")
    cap = parse_bytes(cap_bytes) if isinstance(cap_bytes, str) else cap_bytes
    if not isinstance(cap, int) or isinstance(cap, bool):
        raise ConfigError(f'cap_bytes is {cap!r}; it must be a whole number of bytes, or a size such as "16MB"')
    config, progress = config or QuantConfig(), progress or Silent()
    subject = subject_of(model)
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)

    def answer(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor] | Tensor:
        return _answered(loss(model, batch))

    if config.distill_steps and iter(batches) is batches:
        raise ConfigError("quant.distill_steps reads the batches again and again; give a list of them, not an iterator")
    calibration = calibrate(
        model, batches, answer, made_from=subject.digest, progress=progress, total_tokens=config.calibration_tokens,
        sampled=config.labels == MODEL, generator=generator,
    )  # fmt: skip
    _name_unmeasured(subject, calibration, progress)
    about = Provenance(
        recipe_digest="", corpus_digest="", checkpoint_digest=subject.digest, tokenizer_digest="", lossless=False,
        context=1,
    )  # fmt: skip
    fitter = fitter_of(subject, calibration, config, ArtifactConfig(cap_bytes=cap), b"", about)

    def begin(names: list[str]) -> Distiller:
        return Distiller(model, names, itertools.cycle(batches), answer, steps=config.distill_steps)

    aimed = refuse_useless(fitter, calibration, cap, progress)
    with evaluating(model):
        return read_back(fitter.land(cap, progress, aimed, begin if config.distill_steps else None))


def _name_unmeasured(subject: Subject, calibration: Calibration, progress: Progress) -> None:
    others = [s.name for s in subject.shapes if s.role != Role.SCALAR and s.name not in calibration.tensors]
    if others:
        progress.note(
            f"{len(others)} tensors are used in other ways than linear maps and embeddings, and get one step each, or "
            f"16 bits beyond {MOST_EVEN:,} numbers: {', '.join(others[:5])}{' ..' if len(others) > 5 else ''}"
        )


def _answered(value: Any) -> tuple[Tensor, Tensor] | Tensor:
    """What a loss function may give; ConfigError for anything else."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, Tensor) for part in value):
        logits, label = value
        whole = not (label.is_floating_point() or label.is_complex() or label.dtype == torch.bool)
        if whole and logits.is_floating_point() and logits.ndim > 1:
            return _positions(logits.flatten(0, -2), label.flatten())
        found = f"tensors of {logits.dtype} {tuple(logits.shape)} and {label.dtype} {tuple(label.shape)}"
    elif isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
        if value.numel() == 0 or float(value.detach().min()) > -LEAST_LOSS:
            return value
        found = f"losses down to {float(value.detach().min()):.3g}, such as logits are"
    else:
        found = f"a tensor of {value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else _kind(value)
    raise ConfigError(
        f"loss(model, batch) gave {found}; it must return (logits (N, V), whole labels (N,)), or a tensor with the "
        "loss of each position in nats, not their mean"
    )


def _kind(value: Any) -> str:
    parts = f" of {', '.join(type(part).__name__ for part in value)}" if isinstance(value, tuple) else ""
    return f"a {type(value).__name__}{parts}"


def _positions(logits_NV: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
    """Without those that a negative label marks as not to be looked at."""
    if label_N.numel() != logits_NV.size(0) or (label_N >= logits_NV.size(1)).any():
        raise ConfigError(
            f"loss(model, batch) gave logits {tuple(logits_NV.shape)} and {label_N.numel():,} labels up to "
            f"{int(label_N.max())}; there must be one label for each position, below the number of logits"
        )
    kept_N = label_N >= 0
    return (logits_NV, label_N) if bool(kept_N.all()) else (logits_NV[kept_N], label_N[kept_N])


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The weights in a `.bcap` file by name, float32, for `module.load_state_dict`."""
    return load(Path(path)).quantized.state_dict()


def read_back(landed: Landed | Schemed) -> Artifact:
    """What anybody will read out of the file: the weights that went into it, to the last bit."""
    artifact = loads(landed.data)
    found, wanted = artifact.quantized.state_dict(), landed.model.state_dict()
    if found.keys() != wanted.keys() or not all(torch.equal(found[name], value) for name, value in wanted.items()):
        raise RuntimeError("the file does not give back the weights that went into it")
    return artifact


def fit_facts(landed: Landed | Schemed, cap_bytes: int | None, reserve_bytes: int) -> dict[str, Any]:
    """What `model.fit.json` says of a fit, as JSON values; without a cap, of a scheme's own size."""
    unused = None if cap_bytes is None else cap_bytes - reserve_bytes - len(landed.data)
    whole = sum(landed.losses.values()) or 1.0
    return {
        "scheme": landed.plan.scheme,
        "bytes": len(landed.data),
        "cap_bytes": cap_bytes,
        "reserve_bytes": reserve_bytes,
        "unused_bytes": unused,
        "predicted_bytes": landed.predicted_bytes,
        "predicted_increase_nats": landed.loss,
        "kappa": landed.plan.dial,
        "roundings": landed.roundings,
        "loss_shares": {name: loss / whole for name, loss in landed.losses.items()},
        "made_from": landed.plan.made_from,
    }
