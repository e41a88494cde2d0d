"""How much the loss minds an error in each weight, measured on text: A = E[x xᵀ] and G = E[g gᵀ] for every linear map.

In:   a model, batches, and a loss whose labels were drawn from the model itself (the true Fisher information).
Out:  a Calibration, and `calibration.safetensors`.

A weight is known by what is done with it, not by its name: every call of linear, embedding and of a convolution of
width 1 is watched, so tied and looped weights sum over their uses. Of a weight used as an embedding, A is the second
moment of the gradients at its outputs and G says, for each row, how much gradient its token sees.

Rare tokens are what a sample of text tells least about, and what a fit destroys first. So where the logits are the
last linear map (through an elementwise function at most), its G is not sampled but summed over all labels, E[p - p²];
and how often a token is read is estimated from counts and from the model's own mean probabilities together.

Letters: N positions, O outputs, I inputs, V vocabulary.
Memory:  4 (I² + O²) bytes for each weight; 4 (I² + O) where O is above `most_outputs`; 4 I² more for a tied one.
Source:  K-FAC, arXiv 1503.05671; sums over uses: arXiv 2311.00636 (the "expand" setting).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

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

MOST_OUTPUTS = 2048
"""Rows above which only the diagonal of G is kept."""
PSEUDO = 4.0
"""Occurrences that general knowledge about a token counts for."""
MEASURED = ("linear", "embedding")
_LINEAR, _EMBEDDING, _CONVOLUTIONS = F.linear, F.embedding, (F.conv1d, F.conv2d)


class _Sums:
    """Running sums of one weight for one kind of use."""

    def __init__(self, inputs: int, outputs: int, full: bool, device: torch.device) -> None:
        self.inputs = torch.zeros(inputs, inputs, device=device)
        self.outputs = torch.zeros((outputs, outputs) if full else (outputs,), device=device)
        self.seen = torch.zeros(outputs, device=device)
        self.rows = 0

    def add_inputs(self, x_NI: Tensor) -> None:
        self.inputs.addmm_(x_NI.T, x_NI)
        self.rows += x_NI.size(0)

    def add_outputs(self, g_NO: Tensor) -> None:
        if self.outputs.ndim == 2:
            self.outputs.addmm_(g_NO.T, g_NO)
        else:
            self.outputs += g_NO.square().sum(dim=0)

    def add_all_labels(self, slope_NV: Tensor, p_NV: Tensor) -> None:
        """The sum over every label, each with its probability, instead of one drawn label."""
        mean_NV = slope_NV * p_NV
        if self.outputs.ndim == 2:
            self.outputs += torch.diag((slope_NV * mean_NV).sum(dim=0))
            self.outputs.addmm_(mean_NV.T, mean_NV, alpha=-1.0)
        else:
            self.outputs += (slope_NV * mean_NV - mean_NV.square()).sum(dim=0)

    def add_embedding(self, token_N: Tensor, gradient_ND: Tensor) -> None:
        """As if one-hot rows were the outputs: G gathers the gradient of each token, A its directions."""
        self.inputs.addmm_(gradient_ND.T, gradient_ND)
        self.outputs.index_add_(0, token_N, gradient_ND.square().sum(dim=1))
        self.seen += torch.bincount(token_N, minlength=self.seen.numel())


class _Watch(TorchFunctionMode):
    """Sees every linear map and embedding of known weights, and the gradients at their outputs."""

    def __init__(self, names: dict[int, str], most_outputs: int) -> None:
        super().__init__()
        self.names, self.most_outputs = names, most_outputs
        self.sums: dict[tuple[str, str], _Sums] = {}
        self.calls = 0
        self.last: tuple[_Sums, Tensor] | None = None
        """The last linear map of a forward pass."""
        self.exact: int | None = None
        """The number of its call, where the sum over all labels stands for the gradient."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:  # its linear maps are called where a mode does not look
            with patch.object(F, "linear", self._linear):
                return func(*args, **kwargs)
        out = func(*args, **kwargs)
        if func in (_LINEAR, _EMBEDDING, *_CONVOLUTIONS):
            x, weight = (args[i] if i < len(args) else kwargs.get(key) for i, key in enumerate(("input", "weight")))
            self._see(func, x, weight, out)
        return out

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        out = _LINEAR(x, weight, bias)
        self._see(_LINEAR, x, weight, out)
        return out

    def _see(self, func: Any, x: Tensor, weight: Tensor, out: Tensor) -> None:
        name = self.names.get(id(weight))
        if name is not None and out.requires_grad:
            self._use(func, name, x, weight, out)

    def all_labels(self, logits_NV: Tensor) -> None:
        """Sum over all labels for the last linear map if the logits are an elementwise function of it."""
        self.exact = None
        if self.last is None or self.last[1].numel() != logits_NV.numel():
            return
        sums, out = self.last
        self.last = None
        self.exact = self.calls  # the probes below must not be taken for gradients of the loss
        probe = torch.rand_like(logits_NV) + 0.5
        ones, probed = (
            torch.autograd.grad((logits_NV * factor).sum(), out, retain_graph=True)[0].reshape(logits_NV.shape)
            for factor in (1.0, probe)
        )
        if torch.allclose(ones * probe, probed, rtol=1e-3, atol=1e-6):
            sums.add_all_labels(ones.float(), logits_NV.detach().float().softmax(dim=-1))
        else:
            self.exact = None

    def _use(self, func: Any, name: str, x: Tensor, weight: Tensor, out: Tensor) -> None:
        if func is _EMBEDDING:
            read = self._of(name, "embedding", weight.size(1), weight.size(0), False, weight.device)
            out.register_hook(lambda gradient: read.add_embedding(x.flatten(), _rows(gradient, -1)))  # type: ignore[no-untyped-call]
            return
        channel = -1 if func is _LINEAR else 1
        if channel == 1 and (weight[0, 0].numel() != 1 or x.ndim != weight.ndim or x.size(1) != weight.size(1)):
            return  # a convolution that is no linear map of single positions: wide, in groups, or without a batch
        full = weight.size(0) <= self.most_outputs
        sums = self._of(name, "linear", weight[0].numel(), weight.size(0), full, weight.device)
        sums.add_inputs(_rows(x, channel))
        self.last = sums, out
        self.calls += 1
        call = self.calls  # not `out`: a hook that holds its own tensor would never be freed

        def hook(gradient: Tensor) -> None:
            if call != self.exact:
                sums.add_outputs(_rows(gradient, channel))

        out.register_hook(hook)  # type: ignore[no-untyped-call]

    def _of(self, name: str, kind: str, inputs: int, outputs: int, full: bool, device: torch.device) -> _Sums:
        if (name, kind) not in self.sums:
            self.sums[name, kind] = _Sums(inputs, outputs, full, device)
        return self.sums[name, kind]


def _rows(values: Tensor, channel: int) -> Tensor:
    """(N, channels) in float32."""
    return values.detach().movedim(channel, -1).flatten(0, -2).float()


def calibrate(
    model: nn.Module,
    batches: Iterable[Any],
    answer: Callable[[nn.Module, Any], tuple[Tensor, Tensor] | Tensor],
    *,
    made_from: str,
    progress: Progress,
    total_tokens: int,
    sampled: bool = True,
    generator: torch.Generator | None = None,
    most_outputs: int = MOST_OUTPUTS,
) -> Calibration:
    """Measure every weight of `model` on `batches`.

    `answer(model, batch)` gives logits (N, V) and the data's labels (N,), and where `sampled` labels are drawn from the
    model; or the loss of each position in nats, and the data's labels are used.
    """
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if not torch.isfinite(parameter).all():
            raise NumericsError(f"tensor {name} holds NaN or infinity; the checkpoint cannot be fitted", tensor=name)
    watch, text = _Watch({id(p): n for n, p in parameters.items()}, most_outputs), _Text()
    # Labels of different positions are drawn apart, so the square of a sum of gradients is the sum of their squares.
    squares, fisher, batch_count = dict.fromkeys(parameters, 0.0), dict.fromkeys(parameters, 0.0), 0
    with _measurable(model):
        for batch in batches:
            model.zero_grad(set_to_none=True)
            with watch:
                answered = answer(model, batch)
            if isinstance(answered, Tensor):
                sampled = False
            elif sampled:
                watch.all_labels(answered[0])
            loss_N = text.add(answered, sampled, generator)
            loss_N.sum().backward()  # type: ignore[no-untyped-call]
            batch_count += 1
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    squares[name] += float((parameter.grad / loss_N.numel()).square().mean())
                    fisher[name] += float((parameter.grad.float() / math.sqrt(loss_N.numel())).square().mean())
            progress.update(text.positions, total_tokens, f"{text.positions:,} tokens measured")
    if text.positions == 0:
        raise DataError("there is no calibration text; at least one window of tokens is needed")
    tensors = {}
    for name in parameters:
        uses = {kind: watch.sums[name, kind] for kind in MEASURED if (name, kind) in watch.sums}
        if uses:
            tensors[name] = _curvature(name, uses, text, squares[name] / batch_count)
    vectors = {name: value / batch_count for name, value in fisher.items() if name not in tensors}
    return Calibration(
        made_from=made_from, tokens=text.positions, loss=text.loss / text.positions,
        unigram=text.unigram(), tensors=tensors, vectors=vectors,
    )  # fmt: skip


@contextmanager
def _measurable(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, every parameter with a gradient, for what is not trained is fitted all the same."""
    training, frozen = model.training, [p for p in model.parameters() if not p.requires_grad]
    model.eval()
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        model.zero_grad(set_to_none=True)
        model.train(training)
        for parameter in frozen:
            parameter.requires_grad_(False)


class _Text:
    """What the calibration text itself says: losses, labels, and how likely the model finds each token."""

    def __init__(self) -> None:
        self.positions, self.loss = 0, 0.0
        self.labels: Tensor | None = None
        self.probability: Tensor | None = None

    def add(self, answered: tuple[Tensor, Tensor] | Tensor, sampled: bool, generator: torch.Generator | None) -> Tensor:
        """The loss of each position to be differentiated."""
        if isinstance(answered, Tensor):
            self.positions += answered.numel()
            self.loss += float(answered.detach().double().sum())
            return answered
        logits_NV, label_N = answered
        log_NV = logits_NV.float().log_softmax(dim=-1)
        p_NV = log_NV.detach().exp()
        counts_V = torch.bincount(label_N, minlength=p_NV.size(1)).double().cpu()
        self.labels = counts_V if self.labels is None else self.labels + counts_V
        summed_V = p_NV.sum(dim=0)
        self.probability = summed_V if self.probability is None else self.probability + summed_V
        self.positions += label_N.numel()
        self.loss -= float(log_NV.detach().gather(1, label_N[:, None]).double().sum())
        used_N1 = torch.multinomial(p_NV, 1, generator=generator) if sampled else label_N[:, None]
        return -log_NV.gather(1, used_N1).squeeze(1)

    def unigram(self) -> float:
        """Entropy of the labels in nats; infinite where they are not known."""
        if self.labels is None:
            return math.inf
        share = self.labels[self.labels > 0] / self.positions
        return float(-(share * share.log()).sum())


def _reading(sums: _Sums, text: _Text) -> Tensor:
    """G of an embedding that is read, (V,): how often a token comes, times the mean square of its gradients.

    Frequencies are the mean of counts and of the model's own probabilities; mean squares are pulled towards those of
    all tokens as by `PSEUDO` occurrences.
    """
    seen_V, expected_V = sums.seen, text.probability
    if expected_V is None or expected_V.shape != seen_V.shape:
        expected_V = torch.full_like(seen_V, float(seen_V.mean()))
    overall = sums.outputs.sum() / seen_V.sum()
    square_V = (sums.outputs + PSEUDO * overall) / (seen_V + PSEUDO)
    return 0.5 * (seen_V + expected_V) * square_V


def _curvature(name: str, uses: dict[str, _Sums], text: _Text, square: float) -> Curvature:
    """Both uses of a tied weight as one pair: A weighted by the loss that each use carries, G by the size of its A."""
    pairs = []
    for kind, sums in uses.items():
        if kind == "embedding":
            whole = sums.inputs.diagonal().mean().clamp_min(1e-30)
            pairs.append((sums.inputs / whole, _reading(sums, text) / text.positions / sums.inputs.size(0)))
        else:
            pairs.append((sums.inputs / sums.rows, sums.outputs / text.positions))
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
    tied = len(pairs) > 1
    found = Curvature(
        inputs_II=_array(inputs), outputs=_array(outputs), gradient_square=square,
        linear_II=_array(uses["linear"].inputs / uses["linear"].rows) if tied else None,
    )  # fmt: skip
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


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write atomically."""
    tensors = {}
    for name, curvature in calibration.tensors.items():
        tensors[f"inputs/{name}"] = torch.from_numpy(curvature.inputs_II)
        tensors[f"outputs/{name}"] = torch.from_numpy(np.ascontiguousarray(curvature.outputs))
        if curvature.linear_II is not None:
            tensors[f"linear/{name}"] = torch.from_numpy(curvature.linear_II)
    about = {
        "made_from": calibration.made_from, "tokens": calibration.tokens, "measured_on": calibration.measured_on,
        "loss": calibration.loss, "unigram": calibration.unigram,
        "squares": {name: curvature.gradient_square for name, curvature in calibration.tensors.items()},
        "vectors": calibration.vectors,
    }  # fmt: skip
    write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata={"bytecap": json.dumps(about)}))


def load_calibration(path: Path, made_from: str) -> Calibration:
    """Read back; DataError when the file is damaged or was made from another checkpoint."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {})["bytecap"])
            linear = {key.removeprefix("linear/") for key in file.keys() if key.startswith("linear/")}  # noqa: SIM118
            tensors = {
                name: Curvature(
                    inputs_II=file.get_tensor(f"inputs/{name}"), outputs=file.get_tensor(f"outputs/{name}"),
                    gradient_square=float(square),
                    linear_II=file.get_tensor(f"linear/{name}") if name in linear else None,
                )
                for name, square in about["squares"].items()
            }  # fmt: skip
        found = Calibration(
            made_from=str(about["made_from"]), tokens=int(about["tokens"]), measured_on=str(about["measured_on"]),
            loss=float(about["loss"]), unigram=float(about["unigram"]), tensors=tensors,
            vectors={str(name): float(value) for name, value in about["vectors"].items()},
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
