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

from bytecap.artifact.layout import ATTACHED, PIECES, TOKENIZER
from bytecap.artifact.load import Artifact
from bytecap.coding.cost import apportion
from bytecap.core.units import bits_per_weight
from bytecap.formats.base import StoredTensor
from bytecap.formats.table import FORMATS, format_of


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
    """A row for each tensor, then for header, tokenizer and attached files, where there are some."""
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
        about = format_of(tensor).describe(tensor)
        rows.append(TensorRow(name, tensor.role, tensor.shape, about, bits, coded[name], share))
    for name, known in artifact.quantized.aliases.items():
        rows.append(TensorRow(name, tensors[known].role, tensors[known].shape, f"same as {known}", 0.0, 0, 0.0))
    tokenizer = stored.get(TOKENIZER, 0) + stored.get(PIECES, 0)
    attached = stored.get(ATTACHED, 0)
    header = artifact.size_bytes - sum(coded.values()) - tokenizer - attached
    others = [("header", "", header), (TOKENIZER, "", tokenizer), (ATTACHED, ", ".join(artifact.attached), attached)]
    rows += [TensorRow(n, "", (), about, None, size, size / artifact.size_bytes) for n, about, size in others if size]
    return rows


def tensor_report(artifact: Artifact, loss_shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """The same rows as JSON values, each with its share of the predicted loss; None where that is not known."""
    return [{**dataclasses.asdict(row), "loss_share": loss_shares.get(row.name)} for row in tensor_rows(artifact)]


def _section_costs(tensors: Mapping[str, StoredTensor]) -> dict[str, dict[str, float]]:
    """By section, what each of its tensors takes in it, up to a common factor."""
    costs: dict[str, dict[str, float]] = {}
    for stored_format in FORMATS.values():
        mine = {name: tensor for name, tensor in tensors.items() if stored_format.stores(tensor)}
        for section, parts in (stored_format.section_costs(mine) if mine else {}).items():
            costs.setdefault(section, {}).update(parts)
    return costs
