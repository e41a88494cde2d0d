"""Any torch module under a cap, from Python: what `bytecap.fit` and `bytecap.load_state_dict` are.

In:   a module, batches, a loss, a cap.
Out:  an Artifact; weights by name.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bytecap.artifact.load import Artifact, load
from bytecap.artifact.pack import ArtifactConfig, Provenance
from bytecap.core.errors import ConfigError
from bytecap.core.progress import Progress, Silent
from bytecap.core.units import parse_bytes
from bytecap.fitting.job import build_fitter, fit_to_size, predict_useful, read_back
from bytecap.fitting.source import WeightSource, source_from_module
from bytecap.formats.per_tensor import MAX_PER_TENSOR
from bytecap.model.roles import Role
from bytecap.quant.allocation import MODEL, QuantConfig
from bytecap.quant.calibration import calibrate, evaluating
from bytecap.quant.distillation import Distiller
from bytecap.quant.statistics import Calibration

MIN_LOSS = 1e-3
"""Nats by which the loss of a position may be negative, from rounding."""


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

    Batches are read until `config.calibration_tokens` positions are measured; with 0 none is, and one step serves all.

    Weights that are used by linear maps, convolutions of width 1 and embeddings are quantized, tied or not; all else is
    rounded to one even step for each tensor, or stored at 16 bits where the loss does not reach it or it has more than
    2^20 numbers. Buffers of the state dict are kept exactly.
    `loss(model, batch)` returns (logits (N, V), labels (N,)), and labels are drawn from the model; or a tensor with the
    loss of each position in nats, and the data's labels are used. Read the file back with `bytecap.load_state_dict`.
    Raises BudgetError when the cap cannot be met.
    """
    if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
        raise ConfigError("the model is no torch module with parameters, so there is nothing to fit")
    model, cap = _unwrapped(model), _whole(cap_bytes)
    config, progress = config or QuantConfig(), progress or Silent()
    if not (callable(loss) and isinstance(batches, Iterable) and isinstance(config, QuantConfig)):
        raise ConfigError("fit needs batches to go through, a function loss(model, batch), and a QuantConfig if any")
    source, positions = source_from_module(model), 0
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)

    def forward_fn(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor] | Tensor:
        nonlocal positions
        answered = _answered(loss(model, batch))
        positions += len(answered[1]) if isinstance(answered, tuple) else answered.numel()
        return answered

    if config.distill_steps and iter(batches) is batches:
        raise ConfigError("quant.distill_steps reads the batches again and again; give a list of them, not an iterator")
    wanted, calibration = config.calibration_tokens, None
    enough = itertools.takewhile(lambda _: positions < wanted, batches)
    if wanted:
        calibration = calibrate(
            model, enough, forward_fn, made_from=source.digest, progress=progress, total_tokens=wanted,
            sampled=config.labels == MODEL, generator=generator,
        )  # fmt: skip
        _name_unmeasured(source, calibration, progress)
    about = Provenance(
        recipe_digest="", corpus_digest="", checkpoint_digest=source.digest, tokenizer_digest="", lossless=False,
        context=1,
    )  # fmt: skip
    fitter = build_fitter(source, calibration, config, ArtifactConfig(cap_bytes=cap), None, about)

    def begin(names: list[str]) -> Distiller:
        return Distiller(model, names, itertools.cycle(batches), forward_fn, steps=config.distill_steps)

    predicted = predict_useful(fitter, calibration, cap, progress)
    with evaluating(model):
        start_adaptation = begin if config.distill_steps else None
        return read_back(fit_to_size(fitter, calibration, cap, predicted, start_adaptation, progress))


def _name_unmeasured(source: WeightSource, calibration: Calibration, progress: Progress) -> None:
    others = [s.name for s in source.shapes if s.role != Role.SCALAR and s.name not in calibration.tensors]
    if others:
        progress.note(
            f"{len(others)} tensors are used in other ways than linear maps and embeddings, and get one step each, or "
            f"16 bits beyond {MAX_PER_TENSOR:,} numbers: {', '.join(others[:5])}{' ..' if len(others) > 5 else ''}"
        )


def _unwrapped(model: Any) -> Any:
    """Without what `torch.compile` and data parallelism put around it, whose names nobody else would know."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return _unwrapped(model.module)
    inner = getattr(model, "_orig_mod", None)
    return model if inner is None else _unwrapped(inner)


def _whole(cap_bytes: int | str) -> int:
    """A cap from Python: anything that is a whole number, or a size in words."""
    try:
        cap = parse_bytes(cap_bytes) if isinstance(cap_bytes, str) else operator.index(cap_bytes)
    except TypeError:
        cap = -1
    if cap < 1 or isinstance(cap_bytes, bool):
        raise ConfigError(
            f'cap_bytes is {cap_bytes!r}; it must be a whole number of bytes above 0, or a size such as "16MB"'
        )
    return cap


def _answered(value: Any) -> tuple[Tensor, Tensor] | Tensor:
    """What a loss function may give; ConfigError for anything else."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, Tensor) for part in value):
        logits, label = value
        whole = not (label.is_floating_point() or label.is_complex() or label.dtype == torch.bool)
        if whole and logits.is_floating_point() and logits.ndim > 1:
            return _positions(logits.flatten(0, -2), label.flatten())
        found = f"tensors of {logits.dtype} {tuple(logits.shape)} and {label.dtype} {tuple(label.shape)}"
    elif isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
        if value.numel() == 0 or float(value.detach().min()) > -MIN_LOSS:
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
