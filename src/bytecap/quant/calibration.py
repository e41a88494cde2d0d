"""How much the loss minds an error in each weight, measured on text: A = E[x xᵀ] and G = E[g gᵀ] for every linear map.

In:   a model, batches, and a loss whose labels were drawn from the model itself (the true Fisher information).
Out:  a Calibration, and `calibration.safetensors`.

A weight is known by what is done with it, not by its name: every call of linear, embedding and of a convolution of
width 1 is watched, so tied and looped weights sum over their uses. Of a weight used as an embedding, A is the second
moment of the gradients at its outputs and G counts, for each row, how much gradient its token saw.

Letters: N positions, O outputs, I inputs.
Memory:  4 (I² + O²) bytes for each weight; 4 (I² + O) where O is above `most_outputs`.
Source:  K-FAC, arXiv 1503.05671; sums over uses: arXiv 2311.00636 (the "expand" setting).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bytecap.core.errors import DataError, NumericsError
from bytecap.core.files import write_atomic
from bytecap.core.progress import Progress
from bytecap.quant.statistics import Calibration, Curvature

SAVED = "calibration.safetensors"
MOST_OUTPUTS = 2048
"""Rows above which only the diagonal of G is kept."""
MEASURED = ("linear", "embedding")


class _Sums:
    """Running sums of one weight for one kind of use."""

    def __init__(self, inputs: int, outputs: int, full: bool, device: torch.device) -> None:
        self.inputs = torch.zeros(inputs, inputs, device=device)
        self.outputs = torch.zeros((outputs, outputs) if full else (outputs,), device=device)
        self.rows = 0

    def add_inputs(self, x_NI: Tensor) -> None:
        self.inputs.addmm_(x_NI.T, x_NI)
        self.rows += x_NI.size(0)

    def add_outputs(self, g_NO: Tensor) -> None:
        if self.outputs.ndim == 2:
            self.outputs.addmm_(g_NO.T, g_NO)
        else:
            self.outputs += g_NO.square().sum(dim=0)


class _Watch(TorchFunctionMode):
    """Sees every linear map and embedding of known weights, and the gradients at their outputs."""

    def __init__(self, names: dict[int, str], most_outputs: int) -> None:
        super().__init__()
        self.names, self.most_outputs = names, most_outputs
        self.sums: dict[tuple[str, str], _Sums] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (F.linear, F.embedding, F.conv1d, F.conv2d) and len(args) > 1:
            name = self.names.get(id(args[1]))
            if name is not None and out.requires_grad:
                self._use(func, name, args[0], args[1], out)
        return out

    def _use(self, func: Any, name: str, x: Tensor, weight: Tensor, out: Tensor) -> None:
        if func is F.embedding:
            sums = self._of(name, "embedding", weight.size(1), weight.size(0), False, weight.device)
            out.register_hook(lambda gradient: _add_embedding(sums, x.flatten(), gradient.flatten(0, -2)))  # type: ignore[no-untyped-call]
            return
        channel = -1 if func is F.linear else 1
        if channel == 1 and weight[0, 0].numel() != 1:
            return  # a convolution that is no linear map of single positions
        full = weight.size(0) <= self.most_outputs
        sums = self._of(name, "linear", weight[0].numel(), weight.size(0), full, weight.device)
        sums.add_inputs(_rows(x, channel))
        out.register_hook(lambda gradient: sums.add_outputs(_rows(gradient, channel)))  # type: ignore[no-untyped-call]

    def _of(self, name: str, kind: str, inputs: int, outputs: int, full: bool, device: torch.device) -> _Sums:
        if (name, kind) not in self.sums:
            self.sums[name, kind] = _Sums(inputs, outputs, full, device)
        return self.sums[name, kind]


def _rows(values: Tensor, channel: int) -> Tensor:
    """(N, channels) in float32."""
    return values.detach().movedim(channel, -1).flatten(0, -2).float()


def _add_embedding(sums: _Sums, token_N: Tensor, gradient_ND: Tensor) -> None:
    """As if one-hot rows were the outputs: G gathers the gradient of each token, A its directions."""
    gradient_ND = gradient_ND.detach().float()
    sums.inputs.addmm_(gradient_ND.T, gradient_ND)
    sums.outputs.index_add_(0, token_N, gradient_ND.square().sum(dim=1))


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    losses: Callable[[nn.Module, Any], tuple[Tensor, Tensor, Tensor]],
    *,
    made_from: str,
    progress: Progress,
    total_tokens: int,
    most_outputs: int = MOST_OUTPUTS,
) -> Calibration:
    """Measure every weight of `model` on `batches`.

    `losses(model, batch)` gives the loss of each position with sampled labels, with the data's labels (both in nats)
    and the labels of the data as integers.
    """
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if not torch.isfinite(parameter).all():
            raise NumericsError(f"tensor {name} holds NaN or infinity; the checkpoint cannot be fitted", tensor=name)
    watch = _Watch({id(p): n for n, p in parameters.items()}, most_outputs)
    squares = dict.fromkeys(parameters, 0.0)
    positions, batch_count, data_loss = 0, 0, 0.0
    counts: dict[int, int] = {}
    training = model.training
    model.eval()
    for batch in batches:
        model.zero_grad(set_to_none=True)
        with watch:
            sampled, observed, labels = losses(model, batch)
        sampled.sum().backward()  # type: ignore[no-untyped-call]
        positions += sampled.numel()
        batch_count += 1
        data_loss += float(observed.detach().double().sum())
        for label, count in zip(*(v.tolist() for v in torch.unique(labels, return_counts=True)), strict=True):
            counts[label] = counts.get(label, 0) + count
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                squares[name] += float((parameter.grad / sampled.numel()).square().mean())
        progress.update(positions, total_tokens, f"{positions:,} tokens measured")
    model.zero_grad(set_to_none=True)
    model.train(training)
    if positions == 0:
        raise DataError("there is no calibration text; at least one window of tokens is needed")
    tensors = {}
    for name in parameters:
        uses = {kind: watch.sums[name, kind] for kind in MEASURED if (name, kind) in watch.sums}
        if uses:
            tensors[name] = _curvature(name, uses, positions, squares[name] / batch_count)
    share = np.array(list(counts.values())) / positions
    return Calibration(
        made_from=made_from, tokens=positions, loss=data_loss / positions,
        unigram=float(-(share * np.log(share)).sum()), tensors=tensors,
    )  # fmt: skip


def _curvature(name: str, uses: dict[str, _Sums], positions: int, square: float) -> Curvature:
    """Both uses of a tied weight as one pair: A weighted by the loss that each use carries, G by the size of its A."""
    pairs = []
    for kind, sums in uses.items():
        if kind == "embedding":
            whole = sums.inputs.diagonal().mean().clamp_min(1e-30)
            pairs.append((sums.inputs / whole, sums.outputs / positions / sums.inputs.size(0)))
        else:
            pairs.append((sums.inputs / sums.rows, sums.outputs / positions))
    if len(pairs) == 1:
        inputs, outputs = pairs[0]
    else:
        sizes = [inputs.diagonal().mean() for inputs, _ in pairs]
        traces = [_diagonal(outputs).sum() * size for (_, outputs), size in zip(pairs, sizes, strict=True)]
        scale = sum(traces) / sum(_diagonal(outputs).sum() for _, outputs in pairs)  # mean size of A
        mixed = sum(a / size * trace for (a, _), size, trace in zip(pairs, sizes, traces, strict=True)) / sum(traces)
        inputs = torch.as_tensor(mixed) * scale
        full = max((outputs for _, outputs in pairs), key=lambda outputs: outputs.ndim)
        outputs = torch.zeros_like(full)
        for (_, g), size in zip(pairs, sizes, strict=True):
            part = g * (size / scale)
            outputs += torch.diag(part) if part.ndim < outputs.ndim else part
    found = Curvature(inputs_II=_array(inputs), outputs=_array(outputs), gradient_square=square)
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


def sampled_losses(
    logits_NV: Tensor, labels_N: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of labels drawn from the model, loss of the data's labels, and those labels; all (N,)."""
    log_NV = logits_NV.float().log_softmax(dim=-1)
    drawn_N = torch.multinomial(log_NV.detach().exp(), 1, generator=generator).squeeze(1)
    losses = [-log_NV.gather(1, label_N[:, None]).squeeze(1) for label_N in (drawn_N, labels_N)]
    return losses[0], losses[1], labels_N


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write atomically."""
    tensors = {}
    for name, curvature in calibration.tensors.items():
        tensors[f"inputs/{name}"] = torch.from_numpy(curvature.inputs_II)
        tensors[f"outputs/{name}"] = torch.from_numpy(np.ascontiguousarray(curvature.outputs))
    about = {
        "made_from": calibration.made_from, "tokens": calibration.tokens, "loss": calibration.loss,
        "unigram": calibration.unigram,
        "squares": {name: curvature.gradient_square for name, curvature in calibration.tensors.items()},
    }  # fmt: skip
    write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata={"bytecap": json.dumps(about)}))


def load_calibration(path: Path, made_from: str) -> Calibration:
    """Read back; DataError when the file is damaged or was made from another checkpoint."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {})["bytecap"])
            tensors = {
                name: Curvature(
                    inputs_II=file.get_tensor(f"inputs/{name}"), outputs=file.get_tensor(f"outputs/{name}"),
                    gradient_square=float(square),
                )
                for name, square in about["squares"].items()
            }  # fmt: skip
        found = Calibration(
            made_from=str(about["made_from"]), tokens=int(about["tokens"]), loss=float(about["loss"]),
            unigram=float(about["unigram"]), tensors=tensors,
        )  # fmt: skip
    except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} is not a calibration ({type(error).__name__}: {error}); delete it to measure again",
            path=str(path),
        ) from error
    if found.made_from != made_from:
        raise DataError(
            f"{path} was measured on checkpoint {found.made_from}, this is {made_from}; delete it to measure again",
            path=str(path),
        )
    return found
