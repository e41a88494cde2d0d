"""Where the bytes of a file go, tensor by tensor.

In:   an Artifact.
Out:  rows of role, shape, format, bits per weight, coded bytes, share of the file; they add up to the file exactly.

Tensors of one role share a section; its bytes are shared out among them as the coder's own tables price them (where a
general compressor was used, by order-0 entropy; floats, by their raw size).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bytecap.artifact.layout import BLOCKS, CODES, FACTOR_SCALES, FACTORS, PIECES, SCALES, SYMBOLS, TOKENIZER, VECTORS
from bytecap.artifact.load import Artifact
from bytecap.coding.cost import apportion, entropy_bytes
from bytecap.core.units import bits_per_weight
from bytecap.formats.floats import FloatTensor
from bytecap.formats.low_rank_corrected import LowRankCorrected
from bytecap.formats.per_tensor import PerTensorQuantized
from bytecap.formats.row_column import RowColumnQuantized
from bytecap.formats.size_estimate import coded_bytes, estimate_size
from bytecap.formats.tensor import StoredTensor
from bytecap.formats.trellis import SCALAR


@dataclass(frozen=True)
class TensorRow:
    """One tensor, or one part of the file that is no tensor (then without shape, format and bits per weight)."""

    name: str
    role: str
    shape: tuple[int, ...]
    format: str
    bits_per_weight: float | None
    coded_bytes: int
    share: float


def tensor_rows(artifact: Artifact) -> list[TensorRow]:
    """A row for each tensor, then for header and tokenizer."""
    tensors = artifact.quantized.tensors
    stored = {size.name: size.stored for size in artifact.sizes}
    coded = dict.fromkeys(tensors, 0)
    for section, parts in _section_costs(tensors).items():
        for name, size in zip(parts, apportion(stored[section], list(parts.values())), strict=True):
            coded[name] += size
    rows = []
    for name, tensor in tensors.items():
        bits = bits_per_weight(coded[name], math.prod(tensor.shape))
        share = coded[name] / artifact.size_bytes
        rows.append(TensorRow(name, tensor.role, tensor.shape, _describe(tensor), bits, coded[name], share))
    tokenizer = stored.get(TOKENIZER, 0) + stored.get(PIECES, 0)
    others = [("header", artifact.size_bytes - sum(coded.values()) - tokenizer), (TOKENIZER, tokenizer)]
    rows += [TensorRow(name, "", (), "", None, size, size / artifact.size_bytes) for name, size in others]
    return rows


def tensor_report(artifact: Artifact, loss_shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """The same rows as JSON values, each with its share of the predicted loss; None where that is not known."""
    return [{**dataclasses.asdict(row), "loss_share": loss_shares.get(row.name)} for row in tensor_rows(artifact)]


def _section_costs(tensors: dict[str, StoredTensor]) -> dict[str, dict[str, float]]:
    """By section, what each of its tensors weighs in it, up to a common factor."""
    costs: dict[str, dict[str, float]] = {}
    estimate = {
        name: estimate_size(tensor) for name, tensor in tensors.items() if isinstance(tensor, RowColumnQuantized)
    }
    whole = coded_bytes(estimate)
    for name, tensor in tensors.items():
        if isinstance(tensor, RowColumnQuantized):
            costs.setdefault(CODES, {})[name] = estimate[name].own_bytes
            costs.setdefault(f"{BLOCKS}{tensor.role}", {})[name] = whole[name] - estimate[name].own_bytes
        elif isinstance(tensor, FloatTensor):
            costs.setdefault(f"float{8 * tensor.values.itemsize}", {})[name] = float(tensor.values.nbytes)
        elif isinstance(tensor, PerTensorQuantized):
            costs.setdefault(VECTORS, {})[name] = estimate_size(tensor).own_bytes
        else:
            scaled = tensor.scaled if isinstance(tensor, LowRankCorrected) else tensor
            costs.setdefault(f"{SYMBOLS}{scaled.role}", {})[name] = entropy_bytes(scaled.symbols_OI)
            costs.setdefault(SCALES, {})[name] = float(scaled.scales_O.size)
        if isinstance(tensor, LowRankCorrected):
            costs.setdefault(FACTORS, {})[name] = entropy_bytes(tensor.correction.symbols())
            costs.setdefault(FACTOR_SCALES, {})[name] = float(tensor.correction.scales().size)
    return costs


def _describe(tensor: StoredTensor) -> str:
    if isinstance(tensor, FloatTensor):
        return f"float{8 * tensor.values.itemsize}"
    if isinstance(tensor, LowRankCorrected):
        return f"{_describe(tensor.scaled)} + rank {tensor.correction.right_RI.shape[0]}"
    if isinstance(tensor, PerTensorQuantized):
        return f"{int(tensor.symbols.max()) - int(tensor.symbols.min()) + 1} levels x step"
    levels = int(tensor.symbols_OI.max()) - int(tensor.symbols_OI.min()) + 1
    if not isinstance(tensor, RowColumnQuantized):
        return f"{levels} levels x row scale"
    trellis = f", trellis {tensor.states}" if tensor.states != SCALAR else ""
    return f"{levels} levels x row x column step{trellis}"
