"""Tensors as a safetensors file can hold them: dense, on the CPU, contiguous, none sharing memory with another.

In:   a flat table of tensors of any kind.
Out:  the same numbers under the same names; DataError names what cannot be held.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bytecap.convert.foreign import stand_in
from bytecap.core.errors import DataError

MAX_AXES = 64
"""Axes of a tensor; numpy has no more, and torch takes quadratic time over thousands."""
HELD = frozenset(
    {
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
        torch.bool,
    }
)  # fmt: skip


def separate(tensors: Mapping[str, Tensor], most_bytes: int) -> dict[str, Tensor]:
    """Contiguous copies where a tensor is a view, shares its memory or is strided; others as they are.

    Tied weights become equal copies, as a file has no other way to say so. DataError when all together are more than
    `most_bytes`: a small file can describe endless views of one number.
    """
    for name, value in tensors.items():
        _refuse_unheld(name, value)
    total = sum(value.numel() * value.element_size() for value in tensors.values())
    if total > most_bytes:
        raise DataError(
            f"the tensors of the file would take {total:,} bytes written out, more than {most_bytes:,}, which is what "
            "a file of this size may hold; choose fewer with --key"
        )
    taken: set[int] = set()
    held = {}
    for name, value in tensors.items():
        plain = value.detach().resolve_conj().resolve_neg()
        place = plain.untyped_storage().data_ptr()
        whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
        if place in taken or not whole or not plain.is_contiguous():
            plain = plain.clone(memory_format=torch.contiguous_format)
        taken.add(place)
        held[name] = plain
    return held


def from_array(name: str, array: npt.NDArray[Any]) -> Any:
    """An array as a tensor with the same numbers, or a stand-in that says its type where it holds no numbers.

    Any byte order and layout; bfloat16 and the 8-bit floats of ml_dtypes are taken by their bits. DataError for numbers
    that torch has no type for.
    """
    if array.dtype.kind in "SUMm":
        return stand_in(f"array of {array.dtype}")[0]()
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)).reshape(array.shape)
    by_bits = {"bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
    if (bits := by_bits.get(native.dtype.name)) is not None:
        return torch.from_numpy(native.view(f"u{native.dtype.itemsize}").copy()).view(bits)
    try:
        return torch.from_numpy(native.copy())
    except TypeError:
        raise DataError(
            f"array {name[:80]} is of type {native.dtype}, which no tensor can hold; store it as 32-bit floats",
            tensor=name,
        ) from None


def _refuse_unheld(name: str, value: Tensor) -> None:
    if not name.isprintable():
        raise DataError(f"a tensor has the name {name!r}, which cannot be printed; rename it", tensor=name)
    reason = None
    if value.ndim > MAX_AXES:
        reason = f"has {value.ndim:,} axes, more than {MAX_AXES}; store it flat instead"
    elif value.is_quantized:
        reason = f"is quantized ({value.dtype}); store value.dequantize() instead"
    elif value.layout != torch.strided or value.is_nested:
        reason = f"is not dense ({value.layout}); store value.to_dense() instead"
    elif value.device.type == "meta":
        reason = "has a shape and no numbers (device meta); save the model after its weights are loaded"
    elif value.is_complex():
        reason = "holds complex numbers; store torch.view_as_real(value) instead"
    elif value.dtype not in HELD:
        reason = f"is of type {value.dtype}, which fit cannot read; store it in 16 or 32 bits instead"
    if reason is not None:
        raise DataError(f"tensor {name} {reason}", tensor=name)
