"""The bytes of a `.bcap` file back to a model, trusting nothing.

In:   bytes or a path.
Out:  an Artifact: spec, stored tensors, tokenizer, provenance. No pickle, no code; every size is checked before use.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bytecap.artifact.attached import MAX_FREE, MAX_RATIO, split_files
from bytecap.artifact.header import Header, read_header
from bytecap.artifact.layout import ATTACHED, PIECES, TOKENIZER, Parsed, SectionSize, parse
from bytecap.coding.pieces import check_texts, from_columns
from bytecap.coding.planes import join_bytes
from bytecap.core.errors import ConfigError, DataError, FormatError
from bytecap.formats.base import Plain, StoredTensor, TensorEntry
from bytecap.formats.table import FORMATS
from bytecap.formats.tensor import QuantizedModel
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec

MAX_FILE_BYTES = 1 << 34
MAX_TOKENIZER_FREE, MAX_TOKENIZER_RATIO = 1 << 20, 64
"""Bytes that a tokenizer may have at any rate, and for each stored byte."""
WHOLE_TYPES = {
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Types of tensors that hold no floating-point numbers, as safetensors names them."""


@dataclass(frozen=True)
class Artifact:
    """A file read back."""

    spec: ModelSpec | None
    """None for the weights of another program's model."""
    quantized: QuantizedModel
    tokenizer: bytes | None
    made_from: dict[str, str]
    lossless: bool
    context: int
    sizes: tuple[SectionSize, ...]
    header_bytes: int
    data: bytes
    """The file itself."""
    strategy: str = ""
    """How its default score is made; empty for windows."""
    adapt: Mapping[str, Any] = field(default_factory=dict)
    """What its model adapts by in its default score: settings by name, empty for nothing."""
    attached: Mapping[str, bytes] = field(default_factory=dict)
    """Small files that come with the weights, by name. A `config.json` says that the model is one of Hugging Face's."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """The type that each tensor had before it was fitted, as safetensors names it; empty if it is not known."""

    @property
    def size_bytes(self) -> int:
        """Length of the file: the number that counts."""
        return len(self.data)

    def save(self, path: str | Path) -> None:
        """Write the file, wholly or not at all. Raises BackendError where that fails."""
        from bytecap.core.files import write_bytes  # noqa: PLC0415  (code that only writes is no part of reading)

        write_bytes(Path(path), self.data)

    def state_dict(self) -> dict[str, Tensor]:
        """The weights by name in float32, whole numbers and truth values in the type that they had."""
        kinds = {name: WHOLE_TYPES[kind] for name, kind in self.dtypes.items() if kind in WHOLE_TYPES}
        state = self.quantized.state_dict()
        return state | {name: state[name].to(kind) for name, kind in kinds.items()}

    def model(self) -> GPT:
        """The model, on CPU, ready to score; DataError when the file holds weights alone."""
        if self.spec is None:
            raise no_model(self.attached)
        model = GPT(self.spec)
        model.load_state_dict(self.quantized.state_dict())
        return model.eval()


def no_model(attached: Collection[str]) -> DataError:
    """What is said of a file that holds no model of ours, by the names of its attached files."""
    if "config.json" in attached:
        return DataError(
            "the file holds a Hugging Face model, which this does not take; `bytecap score`, `generate` and `export` do"
        )
    return DataError(
        "the file holds weights without a model; read them with bytecap.load_state_dict into the module that they are "
        "of, or fit the folder of a run or of a Hugging Face model, whose file has the model in it"
    )


def load(path: str | Path) -> Artifact:
    """Read a file; FormatError when it is damaged or foreign, DataError when it is not there.

    >>> import bytecap
    >>> artifact = bytecap.load("model.bcap")
    >>> artifact.size_bytes == len(artifact.data)
    True
    >>> model = artifact.model()  # a torch module, ready to score
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"a file is given by its path, not by an object of type {type(path).__name__}")
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError(f"{path} is {size:,} bytes, more than any .bcap file may have ({MAX_FILE_BYTES:,})")
        data = path.read_bytes()
    except OSError as error:
        meant = f"the .bcap file in it, such as {path / 'model.bcap'}" if path.is_dir() else "the path of a .bcap file"
        raise DataError(f"cannot read {path}: {error.strerror}; give {meant}", path=str(path)) from error
    try:
        return loads(data)
    except FormatError as error:
        raise FormatError(f"{path}: {error}", path=str(path), **error.values) from error


def load_state_dict(file: Artifact | str | Path) -> dict[str, Tensor]:
    """The weights in a file by name, for `load_state_dict` of any torch module; raises what `load` raises.

    All are float32, but for buffers of whole numbers and truth values, which come back in the type that they had.

    >>> import bytecap
    >>> weights = bytecap.load_state_dict("model.bcap")
    >>> weights["embedding"].dtype
    torch.float32
    """
    return (file if isinstance(file, Artifact) else load(file)).state_dict()


def loads(data: bytes) -> Artifact:
    """Read a file from bytes in memory, as `load` does from a path."""
    parsed = parse(data)
    header = read_header(parsed)
    tensors, tokenizer = _tensors(header.entries, parsed), _tokenizer(parsed)
    attached = _attached(header, parsed)
    parsed.refuse_unread()
    return Artifact(
        spec=header.spec,
        quantized=QuantizedModel(tensors, header.aliases),
        tokenizer=tokenizer,
        made_from=header.made_from,
        lossless=header.lossless,
        context=header.context,
        sizes=parsed.sizes,
        header_bytes=parsed.header_bytes,
        data=data,
        strategy=header.strategy,
        adapt=header.adapt,
        attached=attached,
        dtypes=header.dtypes,
    )


def _tensors(entries: Sequence[TensorEntry], parsed: Parsed) -> dict[str, StoredTensor]:
    """Each section is unpacked once, at exactly the size that its tensors need, and used up from the front."""
    sizes = [FORMATS[entry.format].plain_sizes(entry) for entry in entries]
    totals = Counter[Plain]()
    for each in sizes:
        totals.update(each)
    plain = {
        section: io.BytesIO(join_bytes(parsed.read(section.name, exactly=total), section.number_bytes))
        for section, total in totals.items()
    }
    parts = [{section: plain[section].read(size) for section, size in each.items()} for each in sizes]
    tensors: dict[str, StoredTensor] = {}
    for name, stored_format in FORMATS.items():
        mine = [i for i, entry in enumerate(entries) if entry.format == name]
        if mine:
            found = stored_format.read([entries[i] for i in mine], [parts[i] for i in mine], parsed)
            tensors |= {entries[i].name: tensor for i, tensor in zip(mine, found, strict=True)}
    return {entry.name: tensors[entry.name] for entry in entries}


def _tokenizer(parsed: Parsed) -> bytes | None:
    present = [name for name in (TOKENIZER, PIECES) if name in parsed.stored]
    if len(present) == 2:
        raise FormatError("the file holds two tokenizers")
    if not present:
        return None
    at_most = MAX_TOKENIZER_FREE + MAX_TOKENIZER_RATIO * len(parsed.stored[present[0]])
    data = parsed.read(present[0], at_most=at_most)
    tokenizer = data if present[0] == TOKENIZER else from_columns(data)
    check_texts(tokenizer)
    return tokenizer


def _attached(header: Header, parsed: Parsed) -> dict[str, bytes]:
    """Attached files, unpacked to exactly the size that the header gives them."""
    if not header.attached:
        return {}
    total, stored = sum(size for _, size, _ in header.attached), len(parsed.stored.get(ATTACHED, b""))
    if total > (most := MAX_FREE + MAX_RATIO * stored):
        raise FormatError(
            f"the attached files have {total:,} bytes together, {stored:,} stored ones hold {most:,} at most"
        )
    return split_files(header.attached, parsed.read(ATTACHED, exactly=total))
