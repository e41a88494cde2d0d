"""The bytes of a `.bcap` file back to a model, trusting nothing.

In:   bytes or a path.
Out:  an Artifact: spec, stored tensors, tokenizer, provenance. No pickle, no code; every size is checked before use.
"""

from __future__ import annotations

import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bytecap.artifact.layout import (
    BLOCKS,
    CODES,
    FACTOR_SCALES,
    FACTORS,
    MAX_CONTEXT,
    OLD_NAMES,
    PIECES,
    SCALES,
    SYMBOLS,
    TOKENIZER,
    VECTORS,
    Parsed,
    SectionSize,
    number_bytes,
    parse,
)
from bytecap.coding.adaptive import decode_arrays
from bytecap.coding.blocks import Scales, decode_blocks, most_bytes
from bytecap.coding.pieces import from_columns
from bytecap.coding.planes import from_planes, join_bytes
from bytecap.core.errors import BytecapError, DataError, FormatError
from bytecap.core.files import write_bytes
from bytecap.formats.floats import FLOAT16, FLOAT32, FloatTensor
from bytecap.formats.low_rank_corrected import (
    LEFT_BITS,
    LOW_RANK_CORRECTED,
    RIGHT_BITS,
    LowRank,
    LowRankCorrected,
    group_count,
    low_rank_rank,
)
from bytecap.formats.per_channel import PER_CHANNEL, PerChannelQuantized
from bytecap.formats.per_tensor import MAX_PER_TENSOR, PER_TENSOR, PerTensorQuantized
from bytecap.formats.row_column import ROW_COLUMN, RowColumnQuantized
from bytecap.formats.steps import CODES_PER_OCTAVE, MAX_CODE
from bytecap.formats.tensor import MAX_NUMBERS_OF_A_BYTE, MAX_SYMBOL, MAX_WIDTH, QuantizedModel, StoredTensor
from bytecap.formats.trellis import CODES as CODES_OF_STATES
from bytecap.formats.trellis import SCALAR, next_states
from bytecap.model.gpt import GPT
from bytecap.model.renames import current_name
from bytecap.model.roles import Role, parameter_roles
from bytecap.model.spec import ModelSpec

HEADER = {"model", "tensors", "made_from", "lossless", "context"}
MADE_FROM = ("recipe", "corpus", "checkpoint", "tokenizer")
MAX_FILE_BYTES = 1 << 34
MAX_TOKENIZER_BYTES = 1 << 26
MAX_CODE_BYTES = 1 << 28
MAX_WEIGHTS = 1 << 34
LARGEST = 1e38
"""No weight may come near the end of float32."""


@dataclass(frozen=True)
class Artifact:
    """A file read back."""

    spec: ModelSpec | None
    """None for the weights of somebody else's model."""
    quantized: QuantizedModel
    tokenizer: bytes | None
    made_from: dict[str, str]
    lossless: bool
    context: int
    sizes: tuple[SectionSize, ...]
    header_bytes: int
    data: bytes
    """The file itself."""

    @property
    def size_bytes(self) -> int:
        """Length of the file: the number that counts."""
        return len(self.data)

    def save(self, path: Path) -> None:
        """Write the file."""
        write_bytes(Path(path), self.data)

    def model(self) -> GPT:
        """The model, on CPU, ready to score; FormatError when the file holds weights alone."""
        if self.spec is None:
            raise FormatError("the file holds weights without a model; read them with bytecap.load_state_dict")
        model = GPT(self.spec)
        model.load_state_dict(self.quantized.state_dict())
        return model.eval()


def load(path: Path) -> Artifact:
    """Read a file; FormatError when it is damaged or foreign, DataError when it is not there."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError(f"{path} is {size:,} bytes, more than any .bcap file may have ({MAX_FILE_BYTES:,})")
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
    if set(header) != HEADER:
        raise FormatError(
            f"the header must hold {', '.join(sorted(HEADER))} and sections, found {str(list(header))[:200]}"
        )
    try:
        spec = None if header.get("model", 0) is None else ModelSpec.from_json(header.get("model"))
        expected = None if spec is None else _expected_tensors(spec)
    except BytecapError as error:
        raise FormatError(f"the model described in the header cannot be built: {error}") from error
    rows = header.get("tensors")
    if spec is not None and isinstance(rows, list):
        for row in rows:
            if isinstance(row, list) and row and isinstance(row[0], str):
                row[0] = current_name(row[0], spec.techniques)
    _check_tensor_table(rows, expected, len(data))
    return Artifact(
        spec=spec,
        quantized=QuantizedModel(_tensors(header["tensors"], parsed)),
        tokenizer=_tokenizer(parsed),
        made_from=_digests(header.get("made_from")),
        lossless=_truth(header.get("lossless")),
        context=_context(header.get("context")),
        sizes=parsed.sizes,
        header_bytes=parsed.header_bytes,
        data=data,
    )


def _tokenizer(parsed: Parsed) -> bytes | None:
    if TOKENIZER in parsed.stored and PIECES in parsed.stored:
        raise FormatError("the file holds two tokenizers")
    if TOKENIZER in parsed.stored:
        return parsed.section(TOKENIZER, most=MAX_TOKENIZER_BYTES)
    return from_columns(parsed.section(PIECES, most=MAX_TOKENIZER_BYTES)) if PIECES in parsed.stored else None


def _expected_tensors(spec: ModelSpec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Role and shape of each tensor of the spec, without allocating any."""
    with torch.device("meta"):
        model = GPT(spec)
    roles: dict[str, Role] = parameter_roles(model)
    return {name: (str(roles[name]), tuple(p.shape)) for name, p in model.named_parameters()}


def _check_tensor_table(rows: Any, expected: dict[str, tuple[str, tuple[int, ...]]] | None, size_bytes: int) -> None:
    """Every row well formed; with a model, exactly that model's tensors."""
    if not isinstance(rows, list) or (expected is not None and len(rows) != len(expected)):
        raise FormatError(f"the tensor table must have {len(expected or ())} rows for this model")
    known = list(expected.items()) if expected is not None else [None] * len(rows)
    names, new = set(), {old: name for name, old in OLD_NAMES.items()}
    for row, entry in zip(rows, known, strict=True):
        match row:
            case [str(name), str(role), list(shape), str(grid), detail] if all(
                type(number) is int for number in (detail, *shape)
            ) and all(0 < size <= MAX_WIDTH for size in shape):
                if entry is not None and (name, (role, tuple(shape))) != entry:
                    raise FormatError(f"tensor row {str(row)[:100]} does not fit {entry[0]} {entry[1]} of this model")
                if not (name + role).isprintable():
                    raise FormatError(f"tensor row {str(row)[:100]!r} has a name that cannot be printed")
                if name in names or not _is_grid(new.get(grid, ""), detail, shape):
                    raise FormatError(f"tensor row {str(row)[:100]} has an impossible grid, or stands twice")
                names.add(name)
                row[3] = new[grid]
            case _:
                about = f"{entry[0]} {entry[1]} of this model" if entry is not None else "any tensor"
                raise FormatError(f"tensor row {str(row)[:100]} does not fit {about}")
    most = min(MAX_WEIGHTS, MAX_NUMBERS_OF_A_BYTE * size_bytes)
    if sum(math.prod(row[2]) for row in rows) > most:
        raise FormatError(f"the tensors hold more than {most:,} weights")


def _is_grid(grid: str, detail: int, shape: list[int]) -> bool:
    if grid == ROW_COLUMN:
        return len(shape) >= 2 and math.prod(shape[2:]) == 1 and (detail == SCALAR or detail in CODES_OF_STATES)
    if grid in (PER_CHANNEL, LOW_RANK_CORRECTED):
        return len(shape) == 2 and detail in (8, 16)
    if grid == PER_TENSOR:
        return detail == 16 and math.prod(shape) <= MAX_PER_TENSOR
    return (grid, detail) in ((FLOAT16, 16), (FLOAT32, 32))


def _tensors(rows: list[list[Any]], parsed: Parsed) -> dict[str, StoredTensor]:
    """Each section is unpacked once, at exactly the size that its tensors need, and used up from the front."""
    known = {TOKENIZER, PIECES} | {VECTORS for *_, grid, _ in rows if grid == PER_TENSOR}
    known |= {name for _, role, _, grid, _ in rows if grid == ROW_COLUMN for name in (CODES, f"{BLOCKS}{role}")}
    needed: dict[str, int] = {}
    for _, role, shape, grid, detail in rows:
        for section, size in _needs(role, shape, grid, detail):
            needed[section] = needed.get(section, 0) + size
    if unknown := set(parsed.stored) - set(needed) - known:
        raise FormatError(f"section {min(unknown)!r} belongs to no tensor")
    readers = {}
    for section, size in needed.items():
        readers[section] = io.BytesIO(join_bytes(parsed.section(section, size), number_bytes(section)))
    coded: dict[str, StoredTensor] = {
        **_stepped([row for row in rows if row[3] == ROW_COLUMN], parsed),
        **_even([row for row in rows if row[3] == PER_TENSOR], parsed),
    }
    tensors: dict[str, StoredTensor] = {}
    for name, role, shape, grid, detail in rows:
        if name in coded:
            tensors[name] = coded[name]
        else:
            pieces = [readers[section].read(size) for section, size in _needs(role, shape, grid, detail)]
            tensors[name] = _plain(name, role, shape, grid, detail, pieces)
    return tensors


def _needs(role: str, shape: list[int], grid: str, detail: int) -> list[tuple[str, int]]:
    """The plain sections that one tensor reads from, and how many bytes."""
    count = math.prod(shape)
    if grid in (PER_CHANNEL, LOW_RANK_CORRECTED):
        needs = [(f"{SYMBOLS}{role}", count * detail // 8), (SCALES, 2 * shape[0])]
        if grid == LOW_RANK_CORRECTED:
            needs += [(FACTORS, low_rank_rank(*shape) * sum(shape)), (FACTOR_SCALES, 2 + 2 * group_count(*shape))]
        return needs
    return [] if grid in (ROW_COLUMN, PER_TENSOR) else [(grid, count * detail // 8)]


def _stepped(rows: list[list[Any]], parsed: Parsed) -> dict[str, RowColumnQuantized]:
    """Bases, codes and spreads of all, then the integers role by role."""
    if not rows:
        return {}
    data = parsed.section(CODES, most=MAX_CODE_BYTES)
    roles = dict.fromkeys(row[1] for row in rows)
    rows = [row for role in roles for row in rows if row[1] == role]
    if len(data) < 4 * len(rows):
        raise FormatError(f"section {CODES!r} is cut short")
    bases = np.frombuffer(data, "<f4", len(rows)).astype(np.float32)
    if not (np.isfinite(bases).all() and (bases > 0).all()):
        raise FormatError("a step is not a positive number")
    sizes = [size for row in rows for size in (*row[2][:2], *row[2][:2])]
    codes = decode_arrays(data[4 * len(rows) :], sizes)
    if any(np.abs(array).max() > MAX_CODE for step in (0, 1) for array in codes[step::4]):
        raise FormatError(f"a step code is beyond {MAX_CODE} quarter octaves")
    scales = [
        Scales(codes[4 * i + 2] - codes[4 * i], codes[4 * i + 3] - codes[4 * i + 1], next_states(row[4]))
        for i, row in enumerate(rows)
    ]
    places_of = {role: [i for i, row in enumerate(rows) if row[1] == role] for role in roles}

    def decoded(role: str) -> list[npt.NDArray[np.int16]]:
        mine = [scales[i] for i in places_of[role]]
        return decode_blocks(parsed.section(f"{BLOCKS}{role}", most=most_bytes(mine)), mine)

    tensors = {}
    with ThreadPoolExecutor() as pool:
        sections = dict(zip(roles, pool.map(decoded, roles), strict=True))
    for role in roles:
        for i, symbols_OI in zip(places_of[role], sections[role], strict=True):
            steps = codes[4 * i].astype(np.int8), codes[4 * i + 1].astype(np.int8)
            octaves = (int(codes[4 * i].max()) + int(codes[4 * i + 1].max())) / CODES_PER_OCTAVE
            if float(bases[i]) * 2.0**octaves * 2 * MAX_SYMBOL > LARGEST:
                raise FormatError(f"the steps of tensor {rows[i][0]} are too large for 32 bits")
            name, _, shape, _, states = rows[i]
            tensors[name] = RowColumnQuantized(role, symbols_OI, float(bases[i]), *steps, states, len(shape) - 2)
    return tensors


def _even(rows: list[list[Any]], parsed: Parsed) -> dict[str, PerTensorQuantized]:
    """A step for each, then the integers of all."""
    if not rows:
        return {}
    data = parsed.section(VECTORS, most=MAX_CODE_BYTES)
    if len(data) < 4 * len(rows):
        raise FormatError(f"section {VECTORS!r} is cut short")
    steps = np.frombuffer(data, "<f4", len(rows)).astype(np.float32)
    if not (np.isfinite(steps).all() and (steps > 0).all() and (steps.astype(np.float64) * MAX_SYMBOL < LARGEST).all()):
        raise FormatError("a step of a vector is not a positive number, or too large for 32 bits")
    arrays = decode_arrays(data[4 * len(rows) :], [math.prod(row[2]) for row in rows])
    if any(np.abs(array).max() > MAX_SYMBOL for array in arrays):
        raise FormatError(f"a number of a vector is beyond {MAX_SYMBOL}")
    return {
        row[0]: PerTensorQuantized(row[1], array.astype(np.int16).reshape(row[2]), float(step))
        for row, array, step in zip(rows, arrays, steps, strict=True)
    }


def _plain(name: str, role: str, shape: list[int], grid: str, width: int, pieces: list[bytes]) -> StoredTensor:
    if grid in (PER_CHANNEL, LOW_RANK_CORRECTED):
        symbols_OI = from_planes(pieces[0], math.prod(shape), wide=width == 16).reshape(shape)
        scaled = PerChannelQuantized(
            role, symbols_OI, _finite(name, np.frombuffer(pieces[1], "<f2").astype(np.float16))
        )
        return scaled if grid == PER_CHANNEL else LowRankCorrected(scaled, _low_rank(name, shape, *pieces[2:]))
    kind = np.float16 if grid == FLOAT16 else np.float32
    values = np.frombuffer(pieces[0], "<f2" if grid == FLOAT16 else "<f4").astype(kind).reshape(shape)
    return FloatTensor(role, _finite(name, values))


def _low_rank(name: str, shape: list[int], factors: bytes, scales: bytes) -> LowRank:
    """Both factors; their integers must fit their bits."""
    (rows, columns), rank = shape, low_rank_rank(*shape)
    symbols, scale = np.frombuffer(factors, np.int8), _finite(name, np.frombuffer(scales, "<f2").astype(np.float16))
    left_OR, right_RI = symbols[: rows * rank].reshape(rows, rank), symbols[rows * rank :].reshape(rank, columns)
    for factor, bits in ((left_OR, LEFT_BITS), (right_RI, RIGHT_BITS)):
        if factor.min() < -(1 << bits - 1) or factor.max() >= 1 << bits - 1:
            raise FormatError(f"a factor of tensor {name} does not fit {bits} bits")
    return LowRank(left_OR, scale[0], right_RI, scale[1:])


def _finite(name: str, values: Any) -> Any:
    if not np.isfinite(values).all():
        raise FormatError(f"tensor {name} holds NaN or infinity")
    return values


def _digests(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and set(value) == set(MADE_FROM) and all(isinstance(v, str) for v in value.values()):
        return value
    raise FormatError(f"the header's made_from must give the digests of {', '.join(MADE_FROM)}")


def _truth(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise FormatError(f"the header's lossless must be true or false, found {str(value)[:80]}")


def _context(value: Any) -> int:
    if type(value) is int and 1 <= value <= MAX_CONTEXT:
        return value
    raise FormatError(f"the header's context must be 1 to {MAX_CONTEXT:,} tokens, found {value!r}")
