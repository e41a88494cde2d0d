"""A quantized model to the bytes of a `.bcap` file.

In:   a ModelSpec, a QuantizedModel, the tokenizer's model file, the digests it was made from.
Out:  bytes whose length is the number that counts.

Sections are keyed by role: the integers of all tensors of one role lie together, in the model's order, and share their
probability tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bytecap.artifact.attached import NOTHING, Attached
from bytecap.artifact.header import ADAPT, STRATEGY
from bytecap.artifact.layout import ALIASES, PIECES, TOKENIZER, Section, write
from bytecap.coding.general import BROTLI, CODECS, RAW
from bytecap.coding.pieces import to_columns
from bytecap.coding.planes import split_bytes
from bytecap.core.budget import SHRINK, FileBudget, OverCap
from bytecap.core.errors import ConfigError, nearest
from bytecap.core.settings import bounds, check_bounds
from bytecap.core.settings_writer import to_sparse
from bytecap.core.units import parse_bytes
from bytecap.core.version import __version__
from bytecap.formats.base import Plain, StoredTensor
from bytecap.formats.table import FORMATS, format_of
from bytecap.formats.tensor import QuantizedModel
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
    """The tokenizer lies in the file and counts."""
    scheme: str = ""
    """How weights are quantized: empty for our own fit, `as_published` for the scheme that the recipe's source names,
    or a scheme's name (`bytecap fit --help`). A run makes both its own fit and the published one, and records both."""
    over_cap: OverCap = SHRINK
    """What is done where a scheme's file is over the cap: all its steps grow (`shrink`), or the run is refused."""
    keep_small: int | None = field(default=None, metadata=bounds(0, 1 << 40))
    """Matrices of so many elements or fewer stay at 16 bits in a scheme. None: a quarter of model.d_model squared, the
    published 65,536 at the published width of 512."""

    def __post_init__(self) -> None:
        """Raise ConfigError for an invalid size or compressor."""
        cap = parse_bytes(self.cap_bytes) if isinstance(self.cap_bytes, str) else self.cap_bytes
        object.__setattr__(self, "cap_bytes", cap)
        if cap < 1:
            raise ConfigError(f"artifact.cap_bytes is {cap}; it must be positive")
        if not 0 <= self.reserve_bytes < cap:
            raise ConfigError(
                f"artifact.reserve_bytes is {self.reserve_bytes}; it must lie between 0 and the cap {cap}"
            )
        check_bounds(self)
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
    """True when the tokenizer gives back every text as it was."""
    context: int
    """Positions of a scoring window."""
    strategy: str = ""
    """How its default score is made, where not by windows."""
    adapt: Mapping[str, Any] = field(default_factory=dict)
    """What the model adapts by in its default score: settings that differ from their first defaults, by name."""


def pack(
    spec: ModelSpec | None, model: QuantizedModel, tokenizer: bytes, about: Provenance, config: ArtifactConfig,
    attached: Attached = NOTHING,
) -> bytes:  # fmt: skip
    """The whole file; `spec` is None for the weights of another program's model."""
    rows = []
    for name, tensor in model.tensors.items():
        stored_format = format_of(tensor)
        row = [name, stored_format.name, stored_format.detail(tensor)]
        rows.append(row if spec is not None else [*row, tensor.role, list(tensor.shape)])
    header = {
        "written_by": __version__,
        "model": None if spec is None else to_sparse(spec),
        "tensors": rows,
        "made_from": {
            "recipe": about.recipe_digest,
            "corpus": about.corpus_digest,
            "checkpoint": about.checkpoint_digest,
            "tokenizer": about.tokenizer_digest,
        },
        "lossless": about.lossless,
        "context": about.context,
        **{name: value for name, value in ((STRATEGY, about.strategy), (ADAPT, dict(about.adapt))) if value},
        **attached.header(),
        **({ALIASES: dict(model.aliases)} if model.aliases else {}),
    }
    sections = _tensor_sections(list(model.tensors.values()), config.compressor)
    if config.embed_tokenizer and tokenizer:
        columns = to_columns(tokenizer)
        name, data = (TOKENIZER, tokenizer) if columns is None else (PIECES, columns)
        sections.append(Section(name, config.compressor, data))
    if attached.files:
        sections.append(attached.section(config.compressor))
    return write(header, sections)


def _tensor_sections(tensors: list[StoredTensor], compressor: str) -> list[Section]:
    """Coded sections format by format, then what goes through the general compressor."""
    sections = []
    for stored_format in FORMATS.values():
        mine = [tensor for tensor in tensors if stored_format.stores(tensor)]
        sections += [Section(name, RAW, data) for name, data in stored_format.coded_sections(mine).items() if mine]
    plain = defaultdict[Plain, list[bytes]](list)
    for tensor in tensors:
        for section, data in format_of(tensor).plain_parts(tensor).items():
            plain[section].append(data)
    for section, parts in plain.items():
        sections.append(Section(section.name, compressor, split_bytes(b"".join(parts), section.number_bytes)))
    return sections
