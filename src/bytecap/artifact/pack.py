"""A quantized model to the bytes of a `.bcap` file.

In:   a ModelSpec, a QuantizedModel, the tokenizer's model file, the digests it was made from.
Out:  bytes whose length is the number that counts.

Sections are keyed by role: the integers of all tensors of one role lie together, in the model's order, and share their
probability tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bytecap.artifact.layout import (
    BLOCKS,
    CODES,
    FACTOR_SCALES,
    FACTORS,
    OLD_NAMES,
    PIECES,
    SCALES,
    SYMBOLS,
    TOKENIZER,
    VECTORS,
    Section,
    number_bytes,
    write,
)
from bytecap.coding.adaptive import encode_arrays
from bytecap.coding.blocks import encode_blocks
from bytecap.coding.general import BROTLI, CODECS, RAW
from bytecap.coding.pieces import to_columns
from bytecap.coding.planes import is_wide, split_bytes, to_planes
from bytecap.core.budget import FileBudget
from bytecap.core.errors import ConfigError, nearest
from bytecap.core.units import parse_bytes
from bytecap.formats.floats import FLOAT16, FLOAT32, FloatTensor
from bytecap.formats.low_rank_corrected import LOW_RANK_CORRECTED, LowRankCorrected
from bytecap.formats.per_channel import PER_CHANNEL, PerChannelQuantized
from bytecap.formats.per_tensor import PER_TENSOR, PerTensorQuantized
from bytecap.formats.row_column import ROW_COLUMN, RowColumnQuantized
from bytecap.formats.size_estimate import block_of, codes_of
from bytecap.formats.tensor import QuantizedModel, StoredTensor
from bytecap.model.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class ArtifactConfig:
    """What the file holds and how large it may be."""

    cap_bytes: int | str = 16_000_000
    """Most bytes of the whole file: a number, or a size such as 16MB (decimal) or 16MiB."""
    reserve_bytes: int = 0
    """Bytes under the cap kept free, for code that a contest counts."""
    compressor: str = BROTLI
    """For what is not coded by bytecap itself: brotli, zstd, zlib or lzma, at their strongest setting."""
    embed_tokenizer: bool = True
    """Whether the tokenizer lies in the file and counts."""

    def __post_init__(self) -> None:
        """ConfigError for a size or compressor that cannot be."""
        cap = parse_bytes(self.cap_bytes) if isinstance(self.cap_bytes, str) else self.cap_bytes
        object.__setattr__(self, "cap_bytes", cap)
        if cap < 1:
            raise ConfigError(f"artifact.cap_bytes is {cap}; it must be positive")
        if not 0 <= self.reserve_bytes < cap:
            raise ConfigError(
                f"artifact.reserve_bytes is {self.reserve_bytes}; it must lie between 0 and the cap {cap}"
            )
        if self.compressor not in CODECS:
            raise ConfigError(
                f"artifact.compressor is {self.compressor!r}{nearest(self.compressor, CODECS)}; choose one of "
                f"{', '.join(CODECS)}"
            )

    @property
    def budget(self) -> FileBudget:
        """The cap and the reserve as one."""
        assert isinstance(self.cap_bytes, int)
        return FileBudget(self.cap_bytes, self.reserve_bytes)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What an artifact was made from, and what is needed to score it as it was scored."""

    recipe_digest: str
    corpus_digest: str
    checkpoint_digest: str
    tokenizer_digest: str
    lossless: bool
    """Whether the tokenizer gives back every text as it was."""
    context: int
    """Positions of a scoring window."""


def pack(
    spec: ModelSpec | None, model: QuantizedModel, tokenizer: bytes, about: Provenance, config: ArtifactConfig
) -> bytes:
    """The whole file; `spec` is None for the weights of somebody else's model."""
    tensors: list[list[Any]] = []
    parts: dict[str, list[bytes]] = {}
    stepped: dict[str, list[RowColumnQuantized]] = {}
    even: list[PerTensorQuantized] = []
    for name, tensor in model.tensors.items():
        grid, detail = _grid_of(tensor)
        tensors.append([name, tensor.role, list(tensor.shape), OLD_NAMES[grid], detail])
        if isinstance(tensor, RowColumnQuantized):
            stepped.setdefault(tensor.role, []).append(tensor)
        elif isinstance(tensor, PerTensorQuantized):
            even.append(tensor)
        else:
            for section, data in _plain_parts(tensor):
                parts.setdefault(section, []).append(data)
    sections = _stepped_sections(stepped)
    if even:
        steps = b"".join(np.float32(tensor.step).astype("<f4").tobytes() for tensor in even)
        sections.append(Section(VECTORS, RAW, steps + encode_arrays([t.symbols for t in even])))
    for name, pieces in parts.items():
        data = b"".join(pieces)
        sections.append(Section(name, config.compressor, split_bytes(data, number_bytes(name))))
    if config.embed_tokenizer and tokenizer:
        columns = to_columns(tokenizer)
        name, data = (TOKENIZER, tokenizer) if columns is None else (PIECES, columns)
        sections.append(Section(name, config.compressor, data))
    header = {
        "model": None if spec is None else spec.to_json(),
        "tensors": tensors,
        "made_from": {
            "recipe": about.recipe_digest,
            "corpus": about.corpus_digest,
            "checkpoint": about.checkpoint_digest,
            "tokenizer": about.tokenizer_digest,
        },
        "lossless": about.lossless,
        "context": about.context,
    }
    return write(header, sections)


def _grid_of(tensor: StoredTensor) -> tuple[str, int]:
    """Name of the grid, and what a reader must know of it: states of the trellis, or bits of a number."""
    if isinstance(tensor, RowColumnQuantized):
        return ROW_COLUMN, tensor.states
    if isinstance(tensor, LowRankCorrected):
        return LOW_RANK_CORRECTED, _grid_of(tensor.scaled)[1]
    if isinstance(tensor, PerChannelQuantized):
        return PER_CHANNEL, 16 if is_wide(tensor.symbols_OI) else 8
    if isinstance(tensor, PerTensorQuantized):
        return PER_TENSOR, 16
    return (FLOAT16, 16) if tensor.values.dtype == np.float16 else (FLOAT32, 32)


def _plain_parts(tensor: PerChannelQuantized | LowRankCorrected | FloatTensor) -> Iterator[tuple[str, bytes]]:
    """What one tensor adds to the sections behind a general compressor."""
    if isinstance(tensor, FloatTensor):
        kind = "<f2" if tensor.values.dtype == np.float16 else "<f4"
        yield _grid_of(tensor)[0], tensor.values.astype(kind).tobytes()
        return
    scaled = tensor.scaled if isinstance(tensor, LowRankCorrected) else tensor
    yield f"{SYMBOLS}{scaled.role}", to_planes(scaled.symbols_OI, wide=is_wide(scaled.symbols_OI))
    yield SCALES, scaled.scales_O.astype("<f2").tobytes()
    if isinstance(tensor, LowRankCorrected):
        yield FACTORS, tensor.correction.symbols().tobytes()
        yield FACTOR_SCALES, tensor.correction.scales().astype("<f2").tobytes()


def _stepped_sections(by_role: dict[str, list[RowColumnQuantized]]) -> list[Section]:
    """A section of integers for each role, and one with what all of them need to be read."""
    sections, bases, arrays = [], b"", []
    for role, tensors in by_role.items():
        blocks = [block_of(tensor) for tensor in tensors]
        sections.append(Section(f"{BLOCKS}{role}", RAW, encode_blocks(blocks)))
        for tensor, block in zip(tensors, blocks, strict=True):
            bases += np.float32(tensor.base).astype("<f4").tobytes()
            arrays += codes_of(tensor, block)
    if by_role:
        sections.append(Section(CODES, RAW, bases + encode_arrays(arrays)))
    return sections
