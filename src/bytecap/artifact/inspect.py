"""Where the bytes of a file go, tensor by tensor.

In:   an Artifact.
Out:  rows of role, shape, grid, bits per weight, coded bytes, share of the file; they add up to the file exactly.

Tensors of one role share a compressed section; its bytes are shared out among them in proportion to their order-0
entropy (floats: to their raw size).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bytecap.artifact.layout import FLOATS, ROW_CODES, SYMBOLS, TOKENIZER
from bytecap.artifact.load import Artifact
from bytecap.coding.cost import apportion, entropy_bytes
from bytecap.core.units import bits_per_weight
from bytecap.grids.tensor import QuantizedTensor


@dataclass(frozen=True)
class TensorRow:
    """One tensor, or one part of the file that is no tensor (then without shape, grid and bits per weight)."""

    name: str
    role: str
    shape: tuple[int, ...]
    grid: str
    bits_per_weight: float | None
    coded_bytes: int
    share: float


def tensor_rows(artifact: Artifact) -> list[TensorRow]:
    """A row for each tensor, then for header and tokenizer."""
    stored = {size.name: size.stored for size in artifact.sizes}
    coded = dict.fromkeys(artifact.quantized.tensors, 0)
    costs: dict[str, dict[str, float]] = {}
    for name, tensor in artifact.quantized.tensors.items():
        if isinstance(tensor, QuantizedTensor):
            costs.setdefault(f"{SYMBOLS}{tensor.role}", {})[name] = entropy_bytes(tensor.symbols_OI)
            costs.setdefault(ROW_CODES, {})[name] = float(tensor.row_codes_O.size)
        else:
            costs.setdefault(FLOATS, {})[name] = float(tensor.values.nbytes)
    for section, parts in costs.items():
        for name, size in zip(parts, apportion(stored[section], list(parts.values())), strict=True):
            coded[name] += size
    rows = []
    for name, tensor in artifact.quantized.tensors.items():
        grid = f"{_levels(tensor)} levels x row step" if isinstance(tensor, QuantizedTensor) else "float16"
        weights = math.prod(tensor.shape)
        bits = bits_per_weight(coded[name], weights)
        rows.append(
            TensorRow(name, tensor.role, tensor.shape, grid, bits, coded[name], coded[name] / artifact.size_bytes)
        )
    rest = artifact.size_bytes - sum(coded.values()) - stored.get(TOKENIZER, 0)
    others = [("header", rest), (TOKENIZER, stored.get(TOKENIZER, 0))]
    rows += [TensorRow(name, "", (), "", None, size, size / artifact.size_bytes) for name, size in others]
    return rows


def _levels(tensor: QuantizedTensor) -> int:
    return int(tensor.symbols_OI.max()) - int(tensor.symbols_OI.min()) + 1
