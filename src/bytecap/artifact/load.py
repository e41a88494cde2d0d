"""The bytes of a `.bcap` file back to a model, trusting nothing.

In:   bytes or a path.
Out:  an Artifact: spec, stored tensors, tokenizer, provenance. No pickle, no code; every size is checked before use.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bytecap.artifact.layout import FLOATS, ROW_CODES, SYMBOLS, TOKENIZER, Parsed, SectionSize, parse
from bytecap.coding.planes import from_planes
from bytecap.core.errors import BytecapError, DataError, FormatError
from bytecap.grids.plan import FLOAT16, ROW_STEPS
from bytecap.grids.tensor import Float16Tensor, QuantizedModel, QuantizedTensor, StoredTensor
from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, roles_of
from bytecap.model.spec import ModelSpec

MOST_FILE_BYTES = 1 << 34
MOST_TOKENIZER_BYTES = 1 << 26
MOST_CONTEXT = 1 << 16


@dataclass(frozen=True)
class Artifact:
    """A file read back."""

    spec: ModelSpec
    quantized: QuantizedModel
    tokenizer: bytes | None
    made_from: dict[str, str]
    lossless: bool
    context: int
    sizes: tuple[SectionSize, ...]
    header_bytes: int
    size_bytes: int

    def model(self) -> GPT:
        """The model, on CPU, ready to score."""
        model = GPT(self.spec)
        model.load_state_dict(self.quantized.state_dict())
        return model.eval()


def load(path: Path) -> Artifact:
    """Read a file; FormatError when it is damaged or foreign, DataError when it is not there."""
    try:
        size = path.stat().st_size
        if size > MOST_FILE_BYTES:
            raise FormatError(f"{path} is {size:,} bytes, more than any .bcap file may have ({MOST_FILE_BYTES:,})")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    try:
        return loads(data)
    except FormatError as error:
        raise FormatError(f"{path}: {error}", path=str(path), **error.values) from error


def loads(data: bytes) -> Artifact:
    """As `load`, from bytes in memory."""
    parsed = parse(data)
    header = parsed.header
    try:
        spec = ModelSpec.from_json(header.get("model"))
        expected = _expected_tensors(spec)
    except BytecapError as error:
        raise FormatError(f"the model described in the header cannot be built: {error}") from error
    _check_tensor_table(header.get("tensors"), expected)
    return Artifact(
        spec=spec,
        quantized=QuantizedModel(_tensors(header["tensors"], parsed)),
        tokenizer=parsed.section(TOKENIZER, most=MOST_TOKENIZER_BYTES) if TOKENIZER in parsed.stored else None,
        made_from=_strings(header.get("made_from")),
        lossless=header.get("lossless") is True,
        context=_context(header.get("context")),
        sizes=parsed.sizes,
        header_bytes=parsed.header_bytes,
        size_bytes=parsed.size_bytes,
    )


def _expected_tensors(spec: ModelSpec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Role and shape of each tensor of the spec, without allocating any."""
    with torch.device("meta"):
        model = GPT(spec)
    roles: dict[str, Role] = roles_of(model)
    return {name: (str(roles[name]), tuple(p.shape)) for name, p in model.named_parameters()}


def _check_tensor_table(rows: Any, expected: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    if not isinstance(rows, list) or len(rows) != len(expected):
        raise FormatError(f"the tensor table must have {len(expected)} rows for this model")
    for row, (name, (role, shape)) in zip(rows, expected.items(), strict=True):
        match row:
            case [str(found), str(found_role), list(found_shape), str(grid), int(width)] if (
                found,
                found_role,
                tuple(found_shape),
            ) == (name, role, shape) and (
                (grid == ROW_STEPS and len(shape) == 2 and width in (8, 16)) or (grid == FLOAT16 and width == 16)
            ):
                continue
        raise FormatError(f"tensor row {str(row)[:100]} does not fit {name} ({role}, {shape}) of this model")


def _tensors(rows: list[list[Any]], parsed: Parsed) -> dict[str, StoredTensor]:
    """Each section is unpacked once, at exactly the size that its tensors need, and used up from the front."""
    needed: dict[str, int] = {}
    for _, role, shape, grid, width in rows:
        for section, size in _needs(role, shape, grid, width):
            needed[section] = needed.get(section, 0) + size
    readers = {section: io.BytesIO(parsed.section(section, size)) for section, size in needed.items()}
    unknown = set(parsed.stored) - set(needed) - {TOKENIZER}
    if unknown:
        raise FormatError(f"section {min(unknown)!r} belongs to no tensor")
    if FLOATS in readers:
        planes = np.frombuffer(readers[FLOATS].getvalue(), np.uint8).reshape(2, -1)
        readers[FLOATS] = io.BytesIO(planes.T.tobytes())
    tensors: dict[str, StoredTensor] = {}
    for name, role, shape, grid, width in rows:
        pieces = [readers[section].read(size) for section, size in _needs(role, shape, grid, width)]
        tensors[name] = _tensor(name, role, shape, grid, width == 16, pieces)
    return tensors


def _needs(role: str, shape: list[int], grid: str, width: int) -> list[tuple[str, int]]:
    """The sections that one tensor reads from, and how many bytes."""
    count = math.prod(shape)
    if grid == FLOAT16:
        return [(FLOATS, 2 * count)]
    return [(f"{SYMBOLS}{role}", count * width // 8), (ROW_CODES, shape[0])]


def _tensor(name: str, role: str, shape: list[int], grid: str, wide: bool, pieces: list[bytes]) -> StoredTensor:
    if grid == FLOAT16:
        values = np.frombuffer(pieces[0], "<f2").astype(np.float16).reshape(shape)
        if not np.isfinite(values).all():
            raise FormatError(f"tensor {name} holds NaN or infinity")
        return Float16Tensor(role, values)
    symbols_OI = from_planes(pieces[0], math.prod(shape), wide=wide).reshape(shape)
    return QuantizedTensor(role, symbols_OI, np.frombuffer(pieces[1], np.uint8))


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise FormatError("the header's made_from must map names to digests")
    return value


def _context(value: Any) -> int:
    if isinstance(value, int) and 1 <= value <= MOST_CONTEXT:
        return value
    raise FormatError(f"the header's context must be 1 to {MOST_CONTEXT:,} tokens, found {value!r}")
