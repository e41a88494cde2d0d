"""What every kind of checkpoint owes: the same tensors, one sentence for damage, no more bytes than the limit.

The list is the folder: a kind that is nothing but a file is tested all the same.
"""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bytecap.convert.child import convert_files, read_tables
from bytecap.convert.job import WEIGHTS
from bytecap.convert.kinds import KINDS, kind_by_suffix
from bytecap.convert.kinds.base import ByteLimit
from bytecap.core.errors import BytecapError, DataError
from tests.contracts.kinds import WRITERS, make_arrays


@pytest.mark.parametrize("name", KINDS.names())
def test_every_kind(name: str, tmp_path: Path) -> None:
    """Tensors in, the same out; then the file cut off, with a byte changed, and empty."""
    assert name in WRITERS, f"add a writer of {name} to tests/contracts/kinds.py"
    kind = KINDS.find(name)()
    assert kind.title and bool(kind.library) == bool(kind.extra)
    for suffix in kind.suffixes:
        assert type(kind_by_suffix(Path(f"X{suffix.upper()}"))) is type(kind)
    path = tmp_path / f"x{kind.suffixes[0]}"
    WRITERS[name](path, make_arrays())
    convert_files({str(path): None}, None, tmp_path)
    found = load_file(tmp_path / WEIGHTS)
    assert set(found) == {"a", "b", "c"}
    assert all(np.array_equal(found[key], value) for key, value in make_arrays().items())
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:9], bytes(len(whole))):
        path.write_bytes(damaged)
        try:
            kind, tables = read_tables(path)
            assert not tables  # as an empty file is an ONNX model without anything
        except BytecapError as error:
            assert len(str(error)) < 600 and "\n" not in str(error)


@pytest.mark.parametrize("name", sorted({*KINDS.names()} - {"pytorch"}))
def test_every_kind_asks_first(name: str, tmp_path: Path) -> None:
    """No tensor is read that is more than the limit allows; PyTorch's are counted when they are written out."""
    kind = KINDS.find(name)()
    path = tmp_path / f"x{kind.suffixes[0]}"
    WRITERS[name](path, make_arrays())
    with pytest.raises(DataError, match="takes more bytes than a file of this size may hold"):
        kind.read(path, ByteLimit(300))
