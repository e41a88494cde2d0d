"""Integers or floats of 8 bits of an ONNX graph, with scales and zero points in shapes that multiply them.

weight = (number - zero point) * scale, without a zero point where none is stored.

Source:  DequantizeLinear of ONNX 1.23; the names are those of onnxruntime's quantizer (convert/onnx_quantized.py).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bytecap.convert.layouts.base import FLOATS8, Layout, WeightParts


class ONNXIntegers(Layout):
    """`w_quantized`, `w_scale` and `w_zero_point` become `w`."""

    title = "ONNX, integers with scales"
    ends: ClassVar[tuple[str, ...]] = ("_quantized", "_scale")
    others: ClassVar[tuple[str, ...]] = ("_zero_point",)
    result = ""

    def recognizes(self, parts: WeightParts) -> bool:
        """Whole numbers or floats of 8 bits beside a scale that is a float."""
        numbers, scale = parts["_quantized"], parts["_scale"]
        return (not numbers.is_floating_point() or numbers.dtype in FLOATS8) and scale.is_floating_point()

    def numbers(self, parts: WeightParts) -> Tensor:
        """A difference and a product, repeated along the axes where a scale has one number."""
        value, zero = parts["_quantized"].float(), parts.get("_zero_point")
        for part in (parts["_scale"], *([] if zero is None else [zero])):
            fits = part.numel() == 1 or (
                part.ndim == value.ndim and all(a in (1, b) for a, b in zip(part.shape, value.shape, strict=True))
            )
            parts.check(fits, "its scales or zero points have other axes")
        if zero is not None:
            value = value - zero.float()
        return value * parts["_scale"].float()
