"""What a quantized model will estimate_size, without packing it.

In:   quantized tensors.
Out:  for each the block that the coder sees, and the bytes it will take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.coding.adaptive import encode_arrays
from bytecap.coding.blocks import Block, Scales, count_tokens, fit_scales, section_costs
from bytecap.coding.cost import entropy_bytes
from bytecap.formats.floats import FloatTensor
from bytecap.formats.per_tensor import PerTensorQuantized
from bytecap.formats.row_column import RowColumnQuantized
from bytecap.formats.tensor import StoredTensor
from bytecap.formats.trellis import coset_indices, next_states

MAX_CODED_ESTIMATE = 1 << 14
"""Numbers of an even tensor up to which its size is found by coding it; the entropy of more is near enough."""


@dataclass(frozen=True)
class SizeEstimate:
    """One tensor on the scales: what it shares with its section, and bytes of its own."""

    role: str
    counts_CM: npt.NDArray[np.int64] | None
    """How often each token stands in each context; None for floats."""
    own_bytes: float


def block_of(tensor: RowColumnQuantized) -> Block:
    """The integers of a tensor with the scale of their rows and columns, fitted to them."""
    rows_O, columns_I = fit_scales(tensor.symbols_OI)
    cosets_OI = coset_indices(tensor.symbols_OI, tensor.states)
    return Block(tensor.symbols_OI, cosets_OI, Scales(rows_O, columns_I, next_states(tensor.states)))


def codes_of(tensor: RowColumnQuantized, block: Block) -> list[npt.NDArray[np.integer]]:
    """Step codes, and the spread of the weights themselves: class of the integers plus step code, nearly constant."""
    rows, columns = tensor.row_codes_O.astype(np.int64), tensor.column_codes_I.astype(np.int64)
    return [rows, columns, block.scales.row_classes_O + rows, block.scales.column_classes_I + columns]


def estimate_size(tensor: StoredTensor) -> SizeEstimate:
    """One tensor by itself."""
    if isinstance(tensor, RowColumnQuantized):
        block = block_of(tensor)
        return SizeEstimate(tensor.role, count_tokens(block), float(len(encode_arrays(codes_of(tensor, block)))))
    if isinstance(tensor, PerTensorQuantized):
        many = tensor.symbols.size > MAX_CODED_ESTIMATE
        size = entropy_bytes(tensor.symbols) if many else len(encode_arrays([tensor.symbols]))
        return SizeEstimate(tensor.role, None, 4.0 + size)
    assert isinstance(tensor, FloatTensor), "published schemes are packed, not estimate"
    return SizeEstimate(tensor.role, None, float(tensor.values.nbytes))


def coded_bytes(estimate: Mapping[str, SizeEstimate]) -> dict[str, float]:
    """Bytes of each tensor; together within a few hundredths of a percent of the packed file without its header."""
    sizes = {name: entry.own_bytes for name, entry in estimate.items()}
    for role in {entry.role for entry in estimate.values()}:
        counts = {n: e.counts_CM for n, e in estimate.items() if e.role == role and e.counts_CM is not None}
        for name, size in zip(counts, section_costs(list(counts.values())), strict=True):
            sizes[name] += size
    return sizes
