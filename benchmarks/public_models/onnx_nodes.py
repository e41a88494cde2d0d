"""What the nodes of an ONNX graph do, in calls of torch. Source: onnx.ai/onnx/operators.

In:   a node's inputs and attributes.
Out:  its output, or all of them; only what the packages' files use is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Attributes = dict[str, Any]


def _ints(value: Any) -> list[int]:
    return [int(v) for v in value]


def _spread(x: Tensor, kernel: Sequence[int], given: Attributes) -> tuple[Tensor, list[int]]:
    """The input with uneven padding put on, and the even padding that is left."""
    places = len(kernel)
    pads = list(given.get("pads", [0] * 2 * places))
    if given.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        strides, dilations = given.get("strides", [1] * places), given.get("dilations", [1] * places)
        sizes = x.shape[2:]
        whole = [
            max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
            for n, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)
        ]
        less, more = [p // 2 for p in whole], [p - p // 2 for p in whole]
        pads = less + more if given["auto_pad"] == "SAME_UPPER" else more + less
    before, behind = pads[:places], pads[places:]
    if before == behind:
        return x, before
    return F.pad(x, [p for pair in reversed(list(zip(before, behind, strict=True))) for p in pair]), [0] * places


def _convolution(values: list[Any], given: Attributes) -> Tensor:
    x, weight, bias = [*values, None][:3]
    x, padding = _spread(x, weight.shape[2:], given)
    run: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    places = weight.ndim - 2
    strides, dilations = given.get("strides", [1] * places), given.get("dilations", [1] * places)
    return run(x, weight, bias, strides, padding, dilations, given.get("group", 1))


def _transposed(values: list[Any], given: Attributes) -> Tensor:
    x, weight, bias = [*values, None][:3]
    places = weight.ndim - 2
    run: Callable[..., Tensor] = (F.conv_transpose1d, F.conv_transpose2d)[places - 1]
    pads, more = given.get("pads", [0] * 2 * places), given.get("output_padding", [0] * places)
    assert pads[:places] == pads[places:]
    return run(x, weight, bias, given.get("strides", [1] * places), pads[:places], more, given.get("group", 1))


def _pool(largest: bool) -> Callable[[list[Any], Attributes], Tensor]:
    def run(values: list[Any], given: Attributes) -> Tensor:
        kernel, places = given["kernel_shape"], len(given["kernel_shape"])
        strides, ceil = given.get("strides", [1] * places), bool(given.get("ceil_mode", 0))
        if largest:
            x, padding = _spread(values[0], kernel, given)
            return (F.max_pool1d, F.max_pool2d)[places - 1](x, kernel, strides, padding, ceil_mode=ceil)
        x, padding = _spread(values[0], kernel, given)
        counted = bool(given.get("count_include_pad", 0))
        return F.avg_pool2d(x, kernel, strides, padding, ceil_mode=ceil, count_include_pad=counted)

    return run


def _norm(values: list[Any], given: Attributes) -> Tensor:
    x, scale, bias, mean, variance = values
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, given.get("epsilon", 1e-5))


def _reduce(name: str) -> Callable[[list[Any], Attributes], Tensor]:
    def run(values: list[Any], given: Attributes) -> Tensor:
        x, axes = values[0], given.get("axes") or (_ints(values[1]) if len(values) > 1 else list(range(values[0].ndim)))
        keep = bool(given.get("keepdims", 1))
        found: Tensor = getattr(torch, name)(x, dim=tuple(axes), keepdim=keep)
        return found

    return run


def _reshape(values: list[Any], given: Attributes) -> Tensor:
    x, shape = values[0], _ints(values[1])
    return x.reshape([x.size(i) if n == 0 and i < x.ndim else n for i, n in enumerate(shape)])


def _slice(values: list[Any], given: Attributes) -> Tensor:
    x, starts, ends = values[0], *(_ints(v) for v in (values[1:3] or (given["starts"], given["ends"])))
    given_axes = values[3] if len(values) > 3 else given.get("axes")
    axes = _ints(given_axes) if given_axes is not None else list(range(len(starts)))
    steps = _ints(values[4]) if len(values) > 4 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == -1:
            x = x.flip(axis)
        else:
            size = x.size(axis)
            begin, stop = (min(max(n + size if n < 0 else n, 0), size) for n in (start, end))
            x = x.narrow(axis, begin, max(0, stop - begin))
            x = x if step == 1 else x.index_select(axis, torch.arange(0, x.size(axis), step))
    return x


def _squeeze(values: list[Any], given: Attributes) -> Tensor:
    axes = given.get("axes") or (_ints(values[1]) if len(values) > 1 else None)
    return values[0].squeeze() if axes is None else values[0].squeeze(tuple(axes))


def _unsqueeze(values: list[Any], given: Attributes) -> Tensor:
    x, axes = values[0], given.get("axes") or _ints(values[1])
    for axis in sorted(a + x.ndim + len(axes) if a < 0 else a for a in axes):
        x = x.unsqueeze(axis)
    return x


def _pad(values: list[Any], given: Attributes) -> Tensor:
    pads = given.get("pads") or _ints(values[1])
    places = len(pads) // 2
    pairs = [p for axis in reversed(range(places)) for p in (pads[axis], pads[axis + places])]
    mode, fill = given.get("mode", "constant"), float(values[2]) if len(values) > 2 and values[2] is not None else 0.0
    if mode == "constant":
        return F.pad(values[0], pairs, value=fill)
    used = max((i for i, p in enumerate(pairs) if p), default=1) // 2 + 1
    return F.pad(values[0], pairs[: 2 * used], mode=mode)


def _gemm(values: list[Any], given: Attributes) -> Tensor:
    x, weight, bias = [*values, None][:3]
    x = x.T if given.get("transA") else x
    if given.get("transB"):
        return F.linear(x, weight, bias)
    return x @ weight if bias is None else x @ weight + bias


def _gru(values: list[Any], given: Attributes) -> tuple[Tensor, Tensor]:
    """Both directions, gates in the order z, r, h: (T, ways, B, H) and (ways, B, H)."""
    x, weight, recurrent, bias, _, first = [*values, None, None, None][:6]
    ways, size = weight.size(0), given["hidden_size"]
    sides, last = [], []
    for way in range(ways):
        given_gates = F.linear(x, weight[way], bias[way, : 3 * size])
        h = x.new_zeros(x.size(1), size) if first is None else first[way].expand(x.size(1), size)
        steps = []
        for t in range(x.size(0)) if way == 0 else reversed(range(x.size(0))):
            z, r, n = given_gates[t].chunk(3, 1)
            hz, hr, hn = F.linear(h, recurrent[way], bias[way, 3 * size :]).chunk(3, 1)
            assert given.get("linear_before_reset")
            z = (z + hz).sigmoid()
            h = (1 - z) * (n + (r + hr).sigmoid() * hn).tanh() + z * h
            steps.append(h)
        sides.append(torch.stack(steps if way == 0 else steps[::-1]))
        last.append(h)
    return torch.stack(sides, 1), torch.stack(last)


def _resize(values: list[Any], given: Attributes) -> Tensor:
    assert given.get("mode", "nearest") == "nearest"
    scales = values[2] if len(values) > 2 and values[2] is not None and values[2].numel() else None
    size = None if scales is not None else _ints(values[3])[2:]
    return F.interpolate(values[0], size, None if scales is None else [float(s) for s in scales[2:]], mode="nearest")


def _clip(values: list[Any], given: Attributes) -> Tensor:
    low, high = [*values[1:], None, None][:2]
    low, high = given.get("min", low), given.get("max", high)
    return values[0].clamp(*(None if v is None else float(v) for v in (low, high)))


def _global(largest: bool) -> Callable[[list[Any], Attributes], Tensor]:
    def run(values: list[Any], _: Attributes) -> Tensor:
        axes = tuple(range(2, values[0].ndim))
        found: Tensor = values[0].amax(axes, keepdim=True) if largest else values[0].mean(axes, keepdim=True)
        return found

    return run


def _gather(values: list[Any], given: Attributes) -> Tensor:
    axis, places = given.get("axis", 0), values[1]
    found: Tensor = values[0].index_select(axis, places.reshape(-1))
    return found.squeeze(axis) if places.ndim == 0 else found.unflatten(axis, tuple(places.shape))


DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
Operation = Callable[[list[Any], Attributes], Any]
ELEMENTWISE: dict[str, Operation] = {
    "Add": lambda v, _: v[0] + v[1],
    "Sub": lambda v, _: v[0] - v[1],
    "Mul": lambda v, _: v[0] * v[1],
    "Div": lambda v, _: v[0] / v[1],
    "Pow": lambda v, _: v[0] ** v[1],
    "Neg": lambda v, _: -v[0],
    "Max": lambda v, _: torch.maximum(v[0], v[1]),
    "Equal": lambda v, _: v[0] == v[1],
    "Where": lambda v, _: torch.where(v[0], v[1], v[2]),
    "Reciprocal": lambda v, _: 1 / v[0],
    "Sqrt": lambda v, _: v[0].sqrt(),
    "Log": lambda v, _: v[0].log(),
    "Exp": lambda v, _: v[0].exp(),
    "Erf": lambda v, _: v[0].erf(),
    "Tanh": lambda v, _: v[0].tanh(),
    "Relu": lambda v, _: v[0].relu(),
    "Sigmoid": lambda v, _: v[0].sigmoid(),
    "LeakyRelu": lambda v, a: F.leaky_relu(v[0], a.get("alpha", 0.01)),
    "HardSwish": lambda v, _: F.hardswish(v[0]),
    "HardSigmoid": lambda v, a: (v[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "Identity": lambda v, _: v[0],
    "Cast": lambda v, a: v[0].to(DTYPES[a["to"]]),
}
OPERATIONS: dict[str, Operation] = {
    **ELEMENTWISE,
    "AveragePool": _pool(False),
    "BatchNormalization": _norm,
    "Clip": _clip,
    "Concat": lambda v, a: torch.cat(v, a["axis"]),
    "Constant": lambda _, a: torch.tensor(next(iter(a.values()))),
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Expand": lambda v, _: v[0] * v[0].new_ones(_ints(v[1])),
    "GRU": _gru,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(False),
    "GlobalMaxPool": _global(True),
    "MatMul": lambda v, _: v[0] @ v[1],
    "MaxPool": _pool(True),
    "Pad": _pad,
    "ReduceMax": _reduce("amax"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("amin"),
    "ReduceSum": _reduce("sum"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda v, _: torch.tensor(v[0].shape),
    "Slice": _slice,
    "Softmax": lambda v, a: v[0].softmax(a.get("axis", -1)),
    "Squeeze": _squeeze,
    "Transpose": lambda v, a: v[0].permute(a.get("perm") or list(reversed(range(v[0].ndim)))),
    "Unsqueeze": _unsqueeze,
}
