"""GGUF: quantized tensors become the numbers that they stand for."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from bytecap.convert.child import read_tables
from bytecap.core.errors import BytecapError

TYPES = [gguf.GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0")]


def write(path: Path) -> dict[str, np.ndarray]:
    """A file with a tensor of each type; what they stand for."""
    writer, said = gguf.GGUFWriter(path, "llama"), {}
    for kind in TYPES:
        value = np.random.default_rng(0).standard_normal((4, 64), np.float32)
        stored = gguf.quants.quantize(value, kind)
        said[kind.name] = gguf.quants.dequantize(stored, kind)
        writer.add_tensor(kind.name, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return said


def test_floats_keep_their_type(tmp_path: Path) -> None:
    """Floats keep their type, all else is float32; shapes are those of the weights."""
    said = write(tmp_path / "x.gguf")
    found = read_tables(tmp_path / "x.gguf")[1]
    assert {name: found[name].shape for name in said} == dict.fromkeys(said, torch.Size([4, 64]))
    assert all(np.array_equal(found[name].float().numpy(), value) for name, value in said.items())
    assert [found[kind.name].dtype for kind in TYPES] == [
        torch.float32, torch.float16, torch.bfloat16, torch.float32, torch.float32
    ]  # fmt: skip


def test_damaged_headers_give_tensors_or_one_error(tmp_path: Path) -> None:
    """Every byte of the header changed, one after the other: tensors, or one sentence."""
    write(tmp_path / "x.gguf")
    whole = (tmp_path / "x.gguf").read_bytes()
    for place in range(0, 300, 3):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        (tmp_path / "y.gguf").write_bytes(changed)
        try:
            read_tables(tmp_path / "y.gguf")
        except BytecapError as error:
            assert len(str(error)) < 600
    with pytest.raises(BytecapError, match="cannot be read as a GGUF file"):
        (tmp_path / "y.gguf").write_bytes(whole[:1000])
        read_tables(tmp_path / "y.gguf")
