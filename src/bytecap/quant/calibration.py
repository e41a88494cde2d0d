"""The curvature of the loss for each weight, measured on text: A = E[x xᵀ] and G = E[g gᵀ] for every linear map.

In:   a model, batches, and a loss whose labels were drawn from the model itself (the true Fisher information).
Out:  a Calibration.

A weight is known by what is done with it, not by its name: every call of linear, embedding, convolution, product of
matrices and recurrent layer is watched, so tied and looped weights sum over their uses. What is used in any other way
has a diagonal of rank one from the squares of its own gradient. Of a weight used as an embedding, A is the second
moment of the gradients at its outputs and G says, for each row, how much gradient its token sees.

Rare tokens are what a sample of text tells least about, and what a fit destroys first. So where the logits are the
last linear map (through an elementwise function at most), its G is not sampled but summed over all labels, E[p - p²];
and how often a token is read is estimated from counts and from the model's own mean probabilities together.

Letters: N positions, O outputs, I inputs, V vocabulary.
Memory:  4 (I² + O²) bytes for each weight; 4 (I² + O) where O is above `max_outputs`; 4 I² more for a tied one.
Source:  K-FAC, arXiv 1503.05671; sums over uses: arXiv 2311.00636 (the "expand" setting).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bytecap.core.distributed import all_reduce, gather_numbers, refuse_differences, world
from bytecap.core.errors import ConfigError, DataError, NumericsError
from bytecap.core.float32_products import onednn_float32
from bytecap.core.progress import Progress
from bytecap.quant.experts import curvature_of_parts
from bytecap.quant.gradients import Gradients
from bytecap.quant.labels import CalibrationLabels
from bytecap.quant.outputs import ForwardFn
from bytecap.quant.recorder import MAX_OUTPUTS, ActivationRecorder
from bytecap.quant.spill import keep
from bytecap.quant.statistics import Calibration, Curvature
from bytecap.quant.sums import Sums, whole

PSEUDO_COUNT = 4.0
"""Occurrences that the mean over all tokens counts for in the estimate of one token."""
MOST_UNLIKE = 0.5
"""Difference between the frequencies of an embedding's rows and of labels, 0 to 2, up to which rows are tokens."""
MEASURED = ("linear", "swapped", "embedding")


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How labels are drawn for a calibration, and what is measured in addition to curvature."""

    sampled: bool = True
    """Labels are drawn from the model (true Fisher information); False: the labels of the data (empirical)."""
    generator: torch.Generator | None = None
    """Draws the labels; None for the default one of the device."""
    max_outputs: int = MAX_OUTPUTS
    """Outputs O of a weight up to which the whole G is measured, beyond it only its diagonal."""
    squares: bool = True
    """Also the squared gradients of matrices in linear maps, by which published schemes rank them. False is faster, as
    products then go through oneDNN where they stay float32 there."""
    total_tokens: int = 1
    """Positions that the batches will have in all, for the progress that is shown."""


DEFAULT_OPTIONS = CalibrationOptions()


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    forward_fn: ForwardFn,
    *,
    source_digest: str,
    progress: Progress,
    options: CalibrationOptions = DEFAULT_OPTIONS,
) -> Calibration:
    """Measure the curvature of every weight of `model` on `batches`.

    `forward_fn(model, batch)` returns logits (N, V) and the labels of the data (N,); or real outputs (N, K) and None,
    whose targets are drawn from normal distributions of variance 1 around them; or the loss of each position in nats
    (N,). With the last two `options.sampled` has no effect. Each of several processes gives batches of its own, at
    least one, and all get what is measured on all of them. `source_digest` is the digest of the model's weights.

    Raises DataError if the batches have no position with a label, ConfigError for a loss without a gradient,
    NumericsError for weights, activations or gradients that are not finite.
    """
    sampled = options.sampled
    parameters = dict(model.named_parameters())
    _refuse_not_finite(parameters)
    recorder = ActivationRecorder(dict(parameters), options.max_outputs, weight_gradients=options.squares)
    text, gradients = CalibrationLabels(), Gradients(parameters)
    with _measurable(model), onednn_float32(not options.squares):
        for batch in batches:
            model.zero_grad(set_to_none=True)
            with recorder:
                output = forward_fn(model, batch)
            if isinstance(output, Tensor):
                sampled = False
            elif output[1] is None:
                recorder.all_labels(output[0], real=True)
            elif sampled:
                recorder.all_labels(output[0])
            loss_N = text.add(output, sampled, options.generator)
            if loss_N.numel() == 0:
                continue
            if not loss_N.requires_grad:
                raise ConfigError("the loss has no gradient; loss(model, batch) must not run under torch.no_grad()")
            loss_N.sum().backward()  # type: ignore[no-untyped-call]
            gradients.add(loss_N.numel())
            progress.update(text.positions, options.total_tokens, f"{text.positions:,} tokens measured")
    _add_up(recorder, text, gradients)
    if text.positions == 0:
        raise DataError("there is no calibration text: not one position with a label that is not negative; give more")
    tensors = _curvatures(recorder, text, gradients)
    vectors = {name: value / gradients.batches for name, value in gradients.fisher.items() if name not in tensors}
    tensors |= {name: found for name, found in gradients.diagonals().items() if name not in tensors}
    found = Calibration(
        source_digest=source_digest, tokens=text.positions, loss=text.loss / text.positions,
        unigram=text.unigram(), tensors=tensors, vectors=vectors, distinct=text.n_distinct(),
    )  # fmt: skip
    found.note_thin(progress)
    return found


def _curvatures(recorder: ActivationRecorder, text: CalibrationLabels, gradients: Gradients) -> dict[str, Curvature]:
    """The curvature of each weight whose uses were recorded, in the order of the parameters; its sums are freed."""
    tensors = {}
    for name in gradients.parameters:
        known = {kind: recorder.sums[name, kind] for kind in MEASURED if (name, kind) in recorder.sums}
        if uses := {kind: sums for kind, sums in known.items() if sums.count or sums.seen.any()}:
            tensors[name] = keep(_curvature(name, uses, text, gradients.squares[name] / gradients.batches))
            for kind in uses:
                del recorder.sums[name, kind]
    return tensors


def _refuse_not_finite(parameters: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        if not torch.isfinite(parameter).all():
            raise NumericsError(f"tensor {name} holds NaN or infinity; the checkpoint cannot be fitted", tensor=name)


@contextmanager
def _measurable(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, every parameter with a gradient, for what is not trained is fitted all the same.

    Gradients that were there before are there again afterwards.
    """
    before = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    with evaluating(model):
        try:
            for parameter, _, _ in before:
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter, trained, gradient in before:
                parameter.requires_grad_(trained)
                parameter.grad = gradient


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, each module as it was afterwards; cuDNN cannot differentiate recurrent layers in it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        for module, training in modes:
            module.training = training


def _add_up(recorder: ActivationRecorder, text: CalibrationLabels, gradients: Gradients) -> None:
    """Add to what this process has measured what the others have."""
    if world().size == 1:
        return
    keys = sorted(recorder.sums)
    refuse_differences({"the weights that calibration has seen": ", ".join(map(" as ".join, keys))})
    sums = [recorder.sums[key] for key in keys]
    sides = [side for both in gradients.sides.values() for side in both]
    for tensor in [t for one in sums for t in (one.columns, one.rows, one.seen)] + text.tensors() + sides:
        all_reduce([tensor])
    names = list(gradients.parameters)
    numbers = [float(one.count) for one in sums]
    numbers += [gradients.squares[name] for name in names] + [gradients.fisher[name] for name in names]
    found = [
        sum(each)
        for each in zip(*gather_numbers([*numbers, gradients.batches, text.positions, text.loss]), strict=True)
    ]
    for one, count in zip(sums, found, strict=False):
        one.count = int(count)
    squares = found[len(sums) :]
    gradients.squares, gradients.fisher = (
        dict(zip(names, part, strict=False)) for part in (squares, squares[len(names) :])
    )
    gradients.batches, text.positions, text.loss = int(found[-3]), int(found[-2]), found[-1]


def _embedding_outputs(sums: Sums, text: CalibrationLabels) -> Tensor:
    """G of an embedding that is read, (V,): how often a token occurs, times the mean square of its gradients.

    Frequencies are the mean of counts and of the model's own probabilities; mean squares are pulled towards those of
    all tokens as by `PSEUDO_COUNT` occurrences.
    """
    seen_V, expected_V = sums.seen, text.probability
    if expected_V is None or not _rows_are_tokens(seen_V, text):
        expected_V = torch.full_like(seen_V, float(seen_V.mean()))
    overall = sums.rows.sum() / seen_V.sum()
    square_V = (sums.rows + PSEUDO_COUNT * overall) / (seen_V + PSEUDO_COUNT)
    return 0.5 * (seen_V + expected_V) * square_V


def _rows_are_tokens(seen_V: Tensor, text: CalibrationLabels) -> bool:
    """Tell a table of tokens from one of as many hashes: its rows are read about as often as they come as labels."""
    if text.labels is None or text.labels.shape != seen_V.shape:
        return False
    labels_V = text.labels.to(seen_V.device)
    return float((seen_V / seen_V.sum() - labels_V / labels_V.sum()).abs().sum()) < MOST_UNLIKE


def _curvature(name: str, uses: dict[str, Sums], text: CalibrationLabels, square: float) -> Curvature:
    """Both uses of a tied weight as one pair: A weighted by the loss that each use carries, G by the size of its A."""
    if parts := [sums for sums in uses.values() if sums.shape[0] > 1]:
        return _checked(name, curvature_of_parts(parts[0], text.positions, square))
    pairs = []
    for kind, sums in uses.items():
        if kind == "embedding":
            size = sums.columns.diagonal().mean().clamp_min(1e-30)
            pairs.append((sums.columns / size, _embedding_outputs(sums, text) / text.positions / sums.columns.size(0)))
        else:
            pairs.append((whole(sums.columns) / sums.count, whole(sums.rows) / text.positions))
    if len(pairs) == 1:
        inputs, outputs = pairs[0]
    else:
        if any(inputs.ndim == 1 for inputs, _ in pairs):
            pairs = [(_diagonal(inputs), outputs) for inputs, outputs in pairs]
        sizes = [_diagonal(inputs).mean() for inputs, _ in pairs]
        traces = [_diagonal(outputs).sum() * size for (_, outputs), size in zip(pairs, sizes, strict=True)]
        scale = sum(traces) / sum(_diagonal(outputs).sum() for _, outputs in pairs)  # mean size of A
        mixed = sum(a / size * trace for (a, _), size, trace in zip(pairs, sizes, traces, strict=True)) / sum(traces)
        inputs = torch.as_tensor(mixed) * scale
        full = max((outputs for _, outputs in pairs), key=lambda outputs: outputs.ndim)
        outputs = torch.zeros_like(full)
        for (_, g), size in zip(pairs, sizes, strict=True):
            part = g * (size / scale)
            outputs += torch.diag(part) if part.ndim < outputs.ndim else part
    tied = len(pairs) > 1 and "linear" in uses
    found = Curvature(
        inputs_II=_array(inputs), outputs=_array(outputs), gradient_square=square,
        linear_II=_array(whole(uses["linear"].columns) / uses["linear"].count) if tied else None,
    )  # fmt: skip
    return _checked(name, found)


def _checked(name: str, found: Curvature) -> Curvature:
    """The curvature; NumericsError where it is not finite."""
    if not (np.isfinite(found.inputs_II).all() and np.isfinite(found.outputs).all()):
        raise NumericsError(
            f"the activations or gradients of {name} are not finite on the calibration text; the checkpoint has "
            "diverged, or the text holds tokens it has never seen",
            tensor=name,
        )
    return found


def _diagonal(outputs: Tensor) -> Tensor:
    return outputs.diagonal() if outputs.ndim == 2 else outputs


def _array(value: Tensor) -> Any:
    return value.cpu().float().contiguous().numpy()
