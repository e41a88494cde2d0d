"""A quantized model to the bytes of a `.bcap` file.

In:   a ModelSpec, a QuantizedModel, the tokenizer's model file, the digests it was made from.
Out:  bytes whose length is the number that counts.

Sections are keyed by role: the integers of all tensors of one role lie together, in the model's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bytecap.artifact.layout import FLOATS, ROW_CODES, SYMBOLS, TOKENIZER, Section, write
from bytecap.coding.general import BROTLI, CODECS
from bytecap.coding.planes import is_wide, to_planes
from bytecap.core.errors import ConfigError, nearest
from bytecap.core.units import parse_bytes
from bytecap.grids.plan import FLOAT16, ROW_STEPS
from bytecap.grids.tensor import Float16Tensor, QuantizedModel, QuantizedTensor
from bytecap.model.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class ArtifactConfig:
    """What the file holds and how large it may be."""

    cap_bytes: int | str = 16_000_000
    """Most bytes of the whole file: a number, or a size such as 16MB (decimal) or 16MiB."""
    compressor: str = BROTLI
    """brotli or zstd, at their strongest setting."""
    embed_tokenizer: bool = True
    """Whether the tokenizer lies in the file and counts."""

    def __post_init__(self) -> None:
        """ConfigError for a size or compressor that cannot be."""
        cap = parse_bytes(self.cap_bytes) if isinstance(self.cap_bytes, str) else self.cap_bytes
        object.__setattr__(self, "cap_bytes", cap)
        if cap < 1:
            raise ConfigError(f"artifact.cap_bytes is {cap}; it must be positive")
        if self.compressor not in CODECS:
            raise ConfigError(
                f"artifact.compressor is {self.compressor!r}{nearest(self.compressor, CODECS)}; choose one of "
                f"{', '.join(CODECS)}"
            )

    @property
    def cap(self) -> int:
        """The cap in bytes."""
        assert isinstance(self.cap_bytes, int)
        return self.cap_bytes


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
    """Positions of a window in training, the default of scoring."""


def pack(spec: ModelSpec, model: QuantizedModel, tokenizer: bytes, about: Provenance, config: ArtifactConfig) -> bytes:
    """The whole file."""
    tensors: list[list[Any]] = []
    symbols: dict[str, list[bytes]] = {}
    codes: list[bytes] = []
    floats: list[bytes] = []
    for name, tensor in model.tensors.items():
        if isinstance(tensor, QuantizedTensor):
            wide = is_wide(tensor.symbols_OI)
            symbols.setdefault(tensor.role, []).append(to_planes(tensor.symbols_OI, wide=wide))
            codes.append(tensor.row_codes_O.tobytes())
            tensors.append([name, tensor.role, list(tensor.shape), ROW_STEPS, 16 if wide else 8])
        else:
            floats.append(_float_bytes(tensor))
            tensors.append([name, tensor.role, list(tensor.shape), FLOAT16, 16])
    codec = config.compressor
    sections = [Section(f"{SYMBOLS}{role}", codec, b"".join(parts)) for role, parts in symbols.items()]
    sections.append(Section(ROW_CODES, codec, b"".join(codes)))
    sections.append(Section(FLOATS, codec, _split_planes(b"".join(floats))))
    if config.embed_tokenizer:
        sections.append(Section(TOKENIZER, codec, tokenizer))
    header = {
        "model": spec.to_json(),
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


def _float_bytes(tensor: Float16Tensor) -> bytes:
    return tensor.values.astype("<f2").tobytes()


def _split_planes(data: bytes) -> bytes:
    """All low bytes, then all high bytes, of 16-bit values."""
    return np.frombuffer(data, np.uint8).reshape(-1, 2).T.tobytes()
