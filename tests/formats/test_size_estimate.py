"""The scales agree with the packed file."""

import numpy as np
import pytest

from bytecap.artifact.layout import parse
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.formats.floats import FloatTensor
from bytecap.formats.row_column import RowColumnQuantized, make_block, make_codes
from bytecap.formats.size_estimate import coded_bytes
from bytecap.formats.table import estimate_size
from bytecap.formats.tensor import QuantizedModel
from tests.artifact.example import ABOUT


def stepped(rows: int, columns: int, seed: int) -> RowColumnQuantized:
    rng = np.random.default_rng(seed)
    symbols = np.rint(rng.normal(size=(rows, columns)) * 5).astype(np.int16)
    codes = rng.integers(-4, 5, rows).astype(np.int8), rng.integers(-4, 5, columns).astype(np.int8)
    return RowColumnQuantized("matrix", symbols, 0.01, *codes, 8)


def test_weighed_is_what_is_packed() -> None:
    """Within 1 % of the sections, beyond a constant."""
    model = QuantizedModel(
        {"a": stepped(60, 80, 0), "b": stepped(90, 40, 1), "s": FloatTensor("scalar", np.ones(9, np.float16))}
    )
    sizes = coded_bytes({name: estimate_size(tensor) for name, tensor in model.tensors.items()})
    parsed = parse(pack(None, model, b"", ABOUT, ArtifactConfig(cap_bytes=10**6, compressor="raw")))
    assert sum(sizes.values()) == pytest.approx(sum(size.stored for size in parsed.sizes), rel=0.01, abs=40)
    assert sizes["s"] < 18


def test_spread_of_the_weights_is_what_is_sent() -> None:
    """Class of the integers and step code together are the size of the weights, whatever the steps are."""
    tensor = stepped(60, 80, 0)
    rows, _, row_spread, _ = make_codes(tensor, make_block(tensor))
    assert np.abs(np.corrcoef(rows, row_spread - rows)[0, 1]) < 0.4
    assert np.std(row_spread - rows) < np.std(row_spread)
