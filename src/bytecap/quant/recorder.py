"""How weights are used: the inputs of every linear map and embedding, and the gradients at their outputs.

In:   a model's parameters, and forward and backward passes under an ActivationRecorder.
Out:  sums of x xᵀ and g gᵀ for each weight and kind of use, on the weight's device.

A weight is known by its use, not by its name: whatever calls torch's linear, embedding, convolution or product of
matrices with it, with a slice or a view of it, or with an elementwise function of it, is seen, from modules and from
plain functions (`uses.py`, `parameters.py`); recurrent layers are written out as linear maps (`recurrent.py`).

Letters: N positions, I inputs, O outputs, E parts (experts), V vocabulary, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bytecap.quant.parameters import Found, Layout, Parameters, arrange
from bytecap.quant.recurrent import CELLS, is_written_out, run_cell, run_layers
from bytecap.quant.sums import Sums
from bytecap.quant.uses import LinearUse, linear_uses

MAX_OUTPUTS = 2048
"""Rows above which only the diagonal of G is kept."""
MAX_PATCH = 8192
"""Elements of a kernel's patch above which only the diagonal of their curvature is kept."""
_LINEAR, _EMBEDDING, _GET = F.linear, F.embedding, Tensor.__getitem__
_SELECT = (torch.index_select, Tensor.index_select)


class ActivationRecorder(TorchFunctionMode):
    """Sees every linear map and embedding of known weights, and the gradients at their outputs."""

    def __init__(self, parameters: dict[str, Tensor], most_outputs: int, *, weight_gradients: bool = True) -> None:
        """Matrices in linear maps of activations get no gradients of their own without `weight_gradients`."""
        super().__init__()
        self.parameters, self.most_outputs = Parameters(parameters), most_outputs
        self._spared = () if weight_gradients else {id(one) for one in parameters.values() if one.ndim == 2}
        self.sums: dict[tuple[str, str], Sums] = {}
        self.calls = 0
        self.last: tuple[Sums, Tensor] | None = None
        """The last linear map of a forward pass."""
        self.exact: int | None = None
        """The number of its call, where the sum over all labels stands for the gradient."""
        self._gathered: dict[int, tuple[Tensor, Found, Tensor]] = {}
        """Parts of a weight picked by index, by identity: themselves, the weight, the index."""

    def __enter__(self) -> Any:
        self._gathered.clear()
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:  # its linear maps are called where a mode does not look
            with patch.object(F, "linear", self._linear):
                return func(*args, **kwargs)
        if is_written_out(func, args) and not kwargs:
            return (run_cell if func in CELLS else run_layers)(func, self._linear, args)
        out = self._call(func, args, kwargs)
        if func is _GET and isinstance(args[1], Tensor) and args[1].dtype in (torch.int64, torch.int32):
            self._see_rows(args[0], args[1], out)
        elif func in _SELECT and len(args) == 3 and args[1] == 0:
            self._see_rows(args[0], args[2], out)
        elif func is _EMBEDDING:
            x, weight = (args[i] if i < len(args) else kwargs.get(key) for i, key in enumerate(("input", "weight")))
            self._see_rows(weight, x, out)
        elif isinstance(out, Tensor) and out.requires_grad:
            for use in linear_uses(func, args, kwargs):
                self._see(use, out)
        return out

    def _call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What the function gives, without a gradient for weights whose curvature is known from this use."""
        spared = {
            id(use.weight) for use in (linear_uses(func, args, kwargs) if self._spared else ())
            if id(use.weight) in self._spared and use.spread is None and use.x.grad_fn is not None
        }  # fmt: skip
        if spared:
            args = [one.detach() if id(one) in spared else one for one in args]
            kwargs = {name: one.detach() if id(one) in spared else one for name, one in kwargs.items()}
        return func(*args, **kwargs)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        out = _LINEAR(x, weight, bias)
        if out.requires_grad:
            for use in linear_uses(_LINEAR, (x, weight), {}):
                self._see(use, out)
        return out

    def _see_rows(self, weight: Tensor, index: Tensor, out: Tensor) -> None:
        """Rows taken by index are an embedding; matrices taken by index may be parts that something is mapped by."""
        found = self.parameters.find(weight) if out.requires_grad else None
        if found is None or found.slope is not None or found.parameter.shape != weight.shape:
            return
        if weight.ndim == 2:
            read = self._of(found.name, "embedding", (1, *weight.shape), full_rows=False, full_columns=True)
            out.register_hook(lambda gradient: read.add_embedding(index.flatten(), gradient))  # type: ignore[no-untyped-call]
        elif weight.ndim == 3 and index.ndim == 1:
            self._gathered[id(out)] = out, found, index

    def _see(self, use: LinearUse, out: Tensor) -> None:
        gathered = self._gathered.get(id(use.weight))
        found = self.parameters.find(use.weight) if gathered is None else gathered[1]
        if found is None:
            return
        layout = arrange(found, use.weight.shape if gathered is None else found.parameter.shape, use.roles)
        if layout is None or (layout.parts > 1 and use.spread is not None):
            return
        shape = layout.parts, layout.rows, layout.columns
        bounded = layout.swapped or use.spread is not None or layout.parts > 1
        sums = self._of(
            found.name, "swapped" if layout.swapped else "linear", shape,
            full_rows=layout.rows <= self.most_outputs, full_columns=not bounded or layout.columns <= MAX_PATCH,
        )  # fmt: skip
        if sums.shape != shape:  # known as a matrix of another form already
            return
        hook = (self._see_map if layout.parts == 1 else self._see_parts)(use, out, found, layout, sums, gathered)
        out.register_hook(hook)  # type: ignore[no-untyped-call]

    def _see_map(
        self, use: LinearUse, out: Tensor, found: Found, layout: Layout, sums: Sums, _: Any
    ) -> Callable[[Tensor], None]:
        """Inputs are added at once, gradients when they come."""
        scales = _scales(found, layout) or (None, None)
        add_rows, add_columns = (
            _adder(use, layout, sums, scale, rows=rows) for scale, rows in zip(scales, (True, False), strict=True)
        )
        add_inputs, add_outputs = (add_rows, add_columns) if layout.swapped else (add_columns, add_rows)
        sums.count += add_inputs(use.x)
        whole = scales[0] is None and not layout.swapped and layout.row == slice(0, sums.shape[1])
        last = whole and use.spread is None and out.size(-1) == sums.shape[1]
        self.last = (sums, out) if last else None
        self.calls += 1
        call = self.calls  # not `out`: a hook that holds its own tensor would never be freed

        def hook(gradient: Tensor) -> None:
            if call != self.exact:
                add_outputs(gradient)

        return hook

    def _see_parts(
        self, use: LinearUse, out: Tensor, found: Found, layout: Layout, sums: Sums, gathered: Any
    ) -> Callable[[Tensor], None]:
        """Each part has what was routed to it: where neither its input nor its gradient is zero."""
        self.last = None
        part_N = use.part_N if gathered is None else gathered[2]
        ragged = use.part_N is not None
        parts = () if ragged else layout.part_axes
        sides = (layout.row_axes, layout.column_axes)[:: 1 if layout.swapped else -1]  # of inputs, of outputs
        inputs, outputs = (
            use.rows(axes, parts, inputs=given) for axes, given in zip(sides, (True, False), strict=True)
        )

        def hook(gradient: Tensor) -> None:
            for x, g in zip(inputs(use.x), outputs(gradient), strict=True):
                x_ENI, g_ENO = (one if one.ndim == 3 else one[None] for one in (x, g))
                rows, columns = (x_ENI, g_ENO) if layout.swapped else (g_ENO, x_ENI)
                routed = g_ENO.any(dim=2) & x_ENI.any(dim=2)
                if part_N is None:
                    sums.add_parts(rows, columns, routed, layout)
                else:
                    flat = part_N.repeat_interleave(1 if ragged else rows.size(1))
                    sums.add_routed(rows.flatten(0, 1), columns.flatten(0, 1), routed.flatten(), flat, layout)

        return hook

    def all_labels(self, logits_NV: Tensor, *, real: bool = False) -> None:
        """Sum over all labels for the last linear map if the logits are an elementwise function of it.

        Over all targets of `real` outputs (N, K), which are normally distributed around them with variance 1.
        """
        self.exact = None
        if self.last is None or self.last[1].numel() != logits_NV.numel() or not logits_NV.requires_grad:
            return
        if self.last[1].size(-1) != logits_NV.size(-1):  # its outputs are several positions each, or parts of one
            return
        sums, out = self.last
        self.last = None
        if logits_NV.data_ptr() == out.data_ptr() and logits_NV.dtype == out.dtype:  # the map's outputs as they are
            self.exact = self.calls
            _add_exact(sums, logits_NV, None, real=real)
            return
        self.exact = self.calls  # the probes below must not be taken for gradients of the loss
        probe = torch.rand_like(logits_NV) + 0.5
        slopes = [
            torch.autograd.grad((logits_NV * factor).sum(), out, retain_graph=True, allow_unused=True)[0]
            for factor in (1.0, probe)
        ]
        ones, probed = (torch.zeros_like(logits_NV) if s is None else s.reshape(logits_NV.shape) for s in slopes)
        if slopes[0] is not None and torch.allclose(ones * probe, probed, rtol=1e-3, atol=1e-6):
            del slopes, probed, probe
            _add_exact(sums, logits_NV, ones.float(), real=real)
        else:
            self.exact = None

    def _of(self, name: str, kind: str, shape: tuple[int, int, int], *, full_rows: bool, full_columns: bool) -> Sums:
        if (name, kind) not in self.sums:
            device = self.parameters[name].device
            self.sums[name, kind] = Sums(shape, device, full_rows=full_rows, full_columns=full_columns)
        return self.sums[name, kind]


def _add_exact(sums: Sums, outputs_NV: Tensor, slope_NV: Tensor | None, *, real: bool) -> None:
    """Add the expectation of the gradients' second moments; slopes of None are 1."""
    if real:
        sums.add_all_targets(torch.ones_like(outputs_NV, dtype=torch.float32) if slope_NV is None else slope_NV)
    else:
        sums.add_all_labels(slope_NV, outputs_NV.detach().float().softmax(dim=-1))


def _adder(use: LinearUse, layout: Layout, sums: Sums, scale: Tensor | None, *, rows: bool) -> Callable[[Tensor], int]:
    """What adds inputs or gradients to the sums over the weight's rows or columns, and counts positions."""
    axes, at = (layout.row_axes, layout.row) if rows else (layout.column_axes, layout.column)
    if (spread := use.patches(axes)) is not None:
        return lambda values: sums.add_patches(values, spread, scale, at, rows=rows)
    rows_of, add = use.rows(axes, (), inputs=layout.swapped == rows), sums.add_rows if rows else sums.add_columns

    def add_all(values: Tensor) -> int:
        count = 0
        for one in rows_of(values):
            add(one if scale is None else one * scale, at)
            count += len(one)
        return count

    return add_all


def _scales(found: Found, layout: Layout) -> tuple[Tensor, Tensor] | None:
    """What rows and columns are multiplied by where the weight is an elementwise function: its slope as rank one."""
    if found.slope is None:
        return None
    slope_RC = found.slope.reshape(layout.rows, layout.columns)[layout.row, layout.column].square()
    rows = slope_RC.mean(dim=1)
    columns = (slope_RC / rows.clamp_min(1e-30)[:, None]).mean(dim=0)
    return rows.sqrt(), columns.sqrt()
