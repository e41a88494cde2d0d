"""`.bcap` files with damage inside their checksums: inspected, loaded, scored, and asked for text.

In:   a generator, the valid files, an empty folder.
Out:  exit codes. The input lies in the folder, so that a finding can be kept.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import torch

import bytecap
from bytecap.coding.general import compress, decompress
from bytecap.core.errors import BytecapError
from tests.fuzz.bounded import Finding
from tests.fuzz.containers import Container, read_container, write_container
from tests.fuzz.material import Material
from tests.fuzz.mutate import NESTED_OF_A_TOKENIZER, dump_json, mutate_bytes, mutate_json, mutate_message, strange_value
from tests.runs import call

_CODECS = ("raw", "zlib", "brotli", "zstd", "lzma")


def artifact(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """A `.bcap` file with damage inside its checksums: inspected, loaded, scored, and asked for three tokens."""
    path = folder / "input.bcap"
    path.write_bytes(_wrong_artifact(rng, material))
    codes = [call("inspect", path, "--json")]
    try:
        state = bytecap.load_state_dict(path)
    except BytecapError as error:
        codes.append(error.exit_code)
    else:
        codes.append(0)
        for name, value in state.items():
            if not torch.isfinite(value).all():
                raise Finding(f"tensor {name!r} of a file that was read holds NaN or infinity")
    if codes[0] != codes[1]:
        raise Finding(f"inspect leaves with {codes[0]}, load_state_dict with {codes[1]}")
    if codes[0] == 0:
        codes.append(call("score", path, "--text", material.text, "--quiet", "--json"))
        codes.append(call("generate", path, "the", "--tokens", "3", "--json"))
    return codes


def _wrong_artifact(rng: random.Random, material: Material) -> bytes:
    data = rng.choice(material.artifacts).read_bytes()
    if rng.random() < 0.1:
        return mutate_bytes(rng, data)
    container = read_container(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        match rng.randrange(9):
            case 0 | 1:
                container.header = mutate_json(rng, container.header)
            case 2 if _sound(container):
                _change_stored(rng, container)
            case 4 if _sound(container):
                _swap_section(rng, container, read_container(rng.choice(material.artifacts).read_bytes()))
            case 5 if _sound(container):
                _change_model(rng, container)
            case 6 if _sound(container):
                _change_tokenizer(rng, container, material.tokenizer.read_bytes())
            case _ if _sound(container):  # the most likely
                _change_raw(rng, container)
    version = container.version if rng.random() < 0.97 else rng.choice((0, 1, 2, 3, 4, 5, 255))
    return write_container(version, dump_json(rng, container.header), container.sections)


def _sound(container: Container) -> bool:
    """Whether the header still describes the sections, so that they can be changed together."""
    header = container.header
    if not isinstance(header, dict) or not isinstance(header.get("sections"), list):
        return False
    rows = header["sections"]
    kinds = [[type(item) for item in row] if isinstance(row, list) else [] for row in rows]
    return len(rows) == len(container.sections) > 0 and all(kind == [str, str, int, int, int] for kind in kinds)


def _put(container: Container, at: int, codec: str, stored: bytes, raw: int) -> None:
    container.sections[at] = stored
    container.table[at][1:] = [codec, len(stored), raw, zlib.crc32(stored)]


def _change_stored(rng: random.Random, container: Container) -> None:
    """The bytes as they lie in the file."""
    at = rng.randrange(len(container.sections))
    _, codec, _, raw, _ = container.table[at]
    _put(container, at, codec, mutate_bytes(rng, container.sections[at]), raw)


def _change_raw(rng: random.Random, container: Container) -> None:
    """The bytes behind the general compressor, packed again, now and then with another one."""
    at = rng.randrange(len(container.sections))
    _, codec, _, size, _ = container.table[at]
    try:
        raw = decompress(codec, container.sections[at], size)
    except (BytecapError, OverflowError, MemoryError):
        return
    changed = bytearray(mutate_bytes(rng, raw))
    if rng.random() < 0.5:  # sizes are checked first; what lies behind them is reached with the right one
        changed = (changed + bytes(len(raw)))[: len(raw)]
    codec = rng.choice(_CODECS) if rng.random() < 0.2 else codec
    _put(container, at, codec, compress(codec, bytes(changed)), len(changed))


def _swap_section(rng: random.Random, container: Container, other: Container) -> None:
    """One section of another file in place of one here, under the name of either."""
    here, there = rng.randrange(len(container.sections)), rng.randrange(len(other.sections))
    name, codec, _, raw, _ = other.table[there]
    _put(container, here, codec, other.sections[there], raw)
    if rng.random() < 0.5:
        container.table[here][0] = name


def _change_model(rng: random.Random, container: Container) -> None:
    """Fields of the model, and the shapes of all tensors with them where the field is one of their sizes."""
    model = container.header.get("model")
    if not isinstance(model, dict) or not model:
        return
    key = rng.choice(list(model))
    old = model[key]
    model[key] = mutate_json(rng, old) if rng.random() < 0.5 else strange_value(rng)
    tensors = container.header.get("tensors")
    if type(old) is int and isinstance(tensors, list):
        for row in tensors:
            if isinstance(row, list) and len(row) > 2 and isinstance(row[2], list):
                row[2] = [model[key] if size == old else size for size in row[2]]


def _change_tokenizer(rng: random.Random, container: Container, valid: bytes) -> None:
    """Another tokenizer, as its own file is."""
    for at, row in enumerate(container.table):
        if row[0].startswith("tokenizer"):
            model = mutate_message(rng, valid, NESTED_OF_A_TOKENIZER)
            row[0] = "tokenizer"
            _put(container, at, "zlib", compress("zlib", model), len(model))
