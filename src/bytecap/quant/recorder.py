"""How weights are used: the inputs of every linear map and embedding, and the gradients at their outputs.

In:   a model's parameters by their identity, and forward and backward passes under a ActivationRecorder.
Out:  sums of x xᵀ and g gᵀ for each weight and kind of use, on the weight's device.

A weight is known by its use, not by its name: whatever calls torch's linear, embedding, convolution or product of
matrices with it is seen, from modules and from plain functions; recurrent layers are written out as linear maps
(`uses.py`, `recurrent.py`).

Letters: N positions, I inputs, O outputs, V vocabulary, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bytecap.quant.recurrent import CELLS, is_written_out, run_cell, run_layers
from bytecap.quant.uses import LinearUse, linear_use

MAX_OUTPUTS = 2048
"""Rows above which only the diagonal of G is kept."""
MAX_PATCH = 4096
"""Numbers of a kernel's patch above which only the diagonal of their curvature is kept."""
_LINEAR, _EMBEDDING, _GET = F.linear, F.embedding, Tensor.__getitem__


class Sums:
    """Running sums of one weight for one kind of use."""

    def __init__(
        self, inputs: int, outputs: int, full: bool, device: torch.device, *, full_inputs: bool = True
    ) -> None:
        self.inputs = torch.zeros((inputs, inputs) if full_inputs else (inputs,), device=device)
        self.outputs = torch.zeros((outputs, outputs) if full else (outputs,), device=device)
        self.seen = torch.zeros(outputs, device=device)
        self.rows = 0

    def add_inputs(self, x_NI: Tensor) -> None:
        _add_squares(self.inputs, x_NI)
        self.rows += x_NI.size(0)

    def add_outputs(self, g_NO: Tensor) -> None:
        _add_squares(self.outputs, g_NO)

    def add_swapped(self, rows: Iterator[Tensor], *, inputs: bool) -> None:
        """Rows of inputs, which are the weight's own rows, or of gradients, which are its columns."""
        for part in rows:
            _add_squares(self.outputs if inputs else self.inputs, part)
            self.rows += part.size(0) if inputs else 0

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
        if is_written_out(func, args) and not kwargs:
            return (run_cell if func in CELLS else run_layers)(func, self._linear, args)
        out = func(*args, **kwargs)
        if func is _GET and isinstance(args[1], Tensor) and args[1].dtype in (torch.int64, torch.int32):
            if args[0].ndim == 2:
                self._see_embedding(args[1], args[0], out)
        elif func is _EMBEDDING:
            x, weight = (args[i] if i < len(args) else kwargs.get(key) for i, key in enumerate(("input", "weight")))
            self._see_embedding(x, weight, out)
        else:
            self._see(linear_use(func, args, kwargs), out)
        return out

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        out = _LINEAR(x, weight, bias)
        self._see(linear_use(_LINEAR, (x, weight), {}), out)
        return out

    def _see_embedding(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        name = self.names.get(id(weight))
        if name is not None and out.requires_grad:
            read = self._of(name, "embedding", weight.size(1), weight.size(0), False, weight.device)
            out.register_hook(lambda gradient: read.add_embedding(x.flatten(), _rows(gradient, -1)))  # type: ignore[no-untyped-call]

    def _see(self, use: LinearUse | None, out: Tensor) -> None:
        name = None if use is None else self.names.get(id(use.weight))
        if use is not None and name is not None and out.requires_grad:
            (self._use_swapped if use.swapped else self._use)(name, use, out)

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

    def _use(self, name: str, use: LinearUse, out: Tensor) -> None:
        weight, inputs = use.weight, use.weight[0].numel()
        full = weight.size(0) <= self.most_outputs
        full_inputs = not use.patches or inputs <= MAX_PATCH
        sums = self._of(name, "linear", inputs, weight.size(0), full, weight.device, full_inputs=full_inputs)
        for part in use.input_rows(use.x):
            sums.add_inputs(part)
        self.last = sums, out
        self.calls += 1
        call = self.calls  # not `out`: a hook that holds its own tensor would never be freed

        def hook(gradient: Tensor) -> None:
            if call != self.exact:
                for part in use.output_rows(gradient):
                    sums.add_outputs(part)

        out.register_hook(hook)  # type: ignore[no-untyped-call]

    def _use_swapped(self, name: str, use: LinearUse, out: Tensor) -> None:
        """Inputs are the weight's rows; what is known of the columns comes from gradients alone."""
        weight, columns = use.weight, use.weight[0].numel()
        full, full_inputs = weight.size(0) <= self.most_outputs, columns <= MAX_PATCH
        sums = self._of(name, "swapped", columns, weight.size(0), full, weight.device, full_inputs=full_inputs)
        sums.add_swapped(use.input_rows(use.x), inputs=True)
        self.last = None
        out.register_hook(lambda gradient: sums.add_swapped(use.output_rows(gradient), inputs=False))  # type: ignore[no-untyped-call]

    def _of(
        self, name: str, kind: str, inputs: int, outputs: int, full: bool, device: torch.device, *,
        full_inputs: bool = True,
    ) -> Sums:  # fmt: skip
        if (name, kind) not in self.sums:
            self.sums[name, kind] = Sums(inputs, outputs, full, device, full_inputs=full_inputs)
        return self.sums[name, kind]


def _rows(values: Tensor, channel: int) -> Tensor:
    """(N, channels) in float32."""
    return values.detach().movedim(channel, -1).reshape(-1, values.size(channel)).float()


def _add_squares(sums: Tensor, rows_NC: Tensor) -> None:
    """Add the second moment of rows to a matrix (C, C), or its diagonal to (C,)."""
    if sums.ndim == 2:
        sums.addmm_(rows_NC.T, rows_NC)
    else:
        sums += rows_NC.square().sum(dim=0)
