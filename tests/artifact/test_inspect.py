"""Rows add up to the file."""

import pytest

from bytecap.artifact.inspect import tensor_rows
from bytecap.artifact.load import loads
from tests.artifact.example import example_file


def test_rows_add_up() -> None:
    """Coded bytes sum to the file's size, shares to one; every tensor has a row."""
    data = example_file()
    artifact = loads(data)
    rows = tensor_rows(artifact)
    assert sum(row.coded_bytes for row in rows) == len(data)
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert [row.name for row in rows] == [*artifact.quantized.tensors, "header", "tokenizer"]
    query = next(row for row in rows if row.name.endswith("query.weight"))
    assert query.format == "19 levels x row x column step, trellis 8" and query.bits_per_weight is not None
    assert query.bits_per_weight > 4
    value = next(row for row in rows if row.name.endswith("value.weight"))
    assert value.format == "19 levels x row scale + rank 4" and value.bits_per_weight is not None
    assert value.bits_per_weight > 8, "a tiny tensor pays for its factors"
    embedding = rows[0]
    assert (embedding.role, embedding.shape, embedding.format) == ("embedding", (300, 8), "19 levels x row scale")
    assert embedding.bits_per_weight == pytest.approx(8 * embedding.coded_bytes / 2400)
