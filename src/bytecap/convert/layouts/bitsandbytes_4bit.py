"""bitsandbytes' 4 bits (NF4, FP4): codes into a table of 16 numbers, times the largest number of each block.

The largest numbers may be quantized themselves ("double quantization"): codes into a table of 256, times the largest of
each block of them, plus their mean.

Source:  arXiv 2305.14314; `QuantState` of bitsandbytes.
"""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import Layout, WeightParts, nibbles

_STATES = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4")


class BitsAndBytes4(Layout):
    """Two numbers to a byte, the high half first."""

    title = "bitsandbytes, 4 bits"
    ends: ClassVar[tuple[str, ...]] = ("", ".absmax", ".quant_map")
    others: ClassVar[tuple[str, ...]] = (".nested_absmax", ".nested_quant_map", *_STATES)
    result = ""

    def recognizes(self, parts: WeightParts) -> bool:
        """Bytes."""
        return parts[""].dtype == torch.uint8

    def numbers(self, parts: WeightParts) -> Tensor:
        """Shape and size of a block stand in the state, which is JSON in bytes."""
        state = _state(parts)
        shape, block = state.get("shape"), state.get("blocksize")
        parts.check(isinstance(shape, list) and type(block) is int and block > 0, "its state has no shape or block")
        code_N = nibbles(parts[""].flatten(), low_first=False)
        sizes = [size for size in shape or () if type(size) is int and size > 0]
        count = math.prod(sizes)
        parts.check(len(sizes) == len(shape or ()) and count in (len(code_N), len(code_N) - 1), "its shape is another")
        most_B, table_K = _largest(parts, state), parts[".quant_map"].float()
        parts.check(table_K.numel() == 16 and most_B.numel() == math.ceil(count / (block or 1)), "it has other blocks")
        value_N = table_K[code_N[:count]] * most_B.repeat_interleave(block or 1)[:count]
        return value_N.reshape(sizes)


def _state(parts: WeightParts) -> dict[str, Any]:
    """The state; one without is an older file, which does not say its shape."""
    held = next((value for end in _STATES if (value := parts.get(end)) is not None), None)
    parts.check(held is not None, "its quant_state is missing")
    try:
        found = json.loads(bytes(held.tolist()).decode()) if held is not None else None
    except (ValueError, TypeError):
        found = None
    parts.check(isinstance(found, dict), "its quant_state is no JSON")
    return dict(found or {})


def _largest(parts: WeightParts, state: dict[str, Any]) -> Tensor:
    """The largest number of each block."""
    most_B, nested, table = parts[".absmax"], parts.get(".nested_absmax"), parts.get(".nested_quant_map")
    if nested is None or table is None:
        parts.check(most_B.is_floating_point(), "what its largest numbers are quantized by is missing")
        return most_B.float()
    block, offset = state.get("nested_blocksize"), state.get("nested_offset", 0.0)
    fits = type(block) is int and block > 0 and isinstance(offset, (int, float)) and table.numel() == 256
    parts.check(fits and nested.numel() == math.ceil(most_B.numel() / (block or 1)), "its largest numbers do not fit")
    of_means_B = nested.float().repeat_interleave(block or 1)[: most_B.numel()]
    return table.float()[most_B.long()] * of_means_B + float(offset)
