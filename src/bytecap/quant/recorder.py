"""How weights are used: the inputs of every linear map and embedding, and the gradients at their outputs.

In:   a model's parameters by their identity, and forward and backward passes under a ActivationRecorder.
Out:  sums of x xᵀ and g gᵀ for each weight and kind of use, on the weight's device.

A weight is known by its use, not by its name: whatever calls torch's linear, embedding or convolution of width 1 with
it is seen, from modules and from plain functions.

Letters: N positions, I inputs, O outputs, V vocabulary, D width of an embedding.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

MAX_OUTPUTS = 2048
"""Rows above which only the diagonal of G is kept."""
_LINEAR, _EMBEDDING, _CONVOLUTIONS = F.linear, F.embedding, (F.conv1d, F.conv2d)


class Sums:
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
        """Record an embedding as if one-hot rows were outputs: G gathers each token's gradient, A its directions."""
        self.inputs.addmm_(gradient_ND.T, gradient_ND)
        self.outputs.index_add_(0, token_N, gradient_ND.square().sum(dim=1))
        self.seen += torch.bincount(token_N, minlength=self.seen.numel())


class ActivationRecorder(TorchFunctionMode):
    """Sees every linear map and embedding of known weights, and the gradients at their outputs."""

    def __init__(self, names: dict[int, str], most_outputs: int) -> None:
        super().__init__()
        self.names, self.most_outputs = names, most_outputs
        self.sums: dict[tuple[str, str], Sums] = {}
        self.calls = 0
        self.last: tuple[Sums, Tensor] | None = None
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
        if self.last is None or self.last[1].numel() != logits_NV.numel() or not logits_NV.requires_grad:
            return
        sums, out = self.last
        self.last = None
        self.exact = self.calls  # the probes below must not be taken for gradients of the loss
        probe = torch.rand_like(logits_NV) + 0.5
        slopes = [
            torch.autograd.grad((logits_NV * factor).sum(), out, retain_graph=True, allow_unused=True)[0]
            for factor in (1.0, probe)
        ]
        ones, probed = (torch.zeros_like(logits_NV) if s is None else s.reshape(logits_NV.shape) for s in slopes)
        if slopes[0] is not None and torch.allclose(ones * probe, probed, rtol=1e-3, atol=1e-6):
            sums.add_all_labels(ones.float(), logits_NV.detach().float().softmax(dim=-1))
        else:
            self.exact = None

    def _use(self, func: Any, name: str, x: Tensor, weight: Tensor, out: Tensor) -> None:
        if func is _EMBEDDING:
            read = self._of(name, "embedding", weight.size(1), weight.size(0), False, weight.device)
            out.register_hook(lambda gradient: read.add_embedding(x.flatten(), _rows(gradient, -1)))  # type: ignore[no-untyped-call]
            return
        channel = -1 if func is _LINEAR else 1
        if channel == 1 and (
            weight[0, 0].numel() != 1
            or x.ndim != weight.ndim
            or x.size(1) != weight.size(1)
            or x.shape[2:] != out.shape[2:]
        ):
            return  # no linear map of single positions: wide, without a batch, in groups, or with strides or padding
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

    def _of(self, name: str, kind: str, inputs: int, outputs: int, full: bool, device: torch.device) -> Sums:
        if (name, kind) not in self.sums:
            self.sums[name, kind] = Sums(inputs, outputs, full, device)
        return self.sums[name, kind]


def _rows(values: Tensor, channel: int) -> Tensor:
    """(N, channels) in float32."""
    return values.detach().movedim(channel, -1).reshape(-1, values.size(channel)).float()
