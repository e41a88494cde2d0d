"""Tables line up."""

import copy
import json
from pathlib import Path

from bytecap.report.tables import columns, summary, tensor_table

OLD = json.loads((Path(__file__).parents[1] / "golden" / "run_0_1" / "record.json").read_text("utf-8"))


def test_columns_are_aligned() -> None:
    """Left and right, without trailing blanks."""
    assert columns([["a", "1"], ["bbb", "22"]], right="lr") == "a     1\nbbb  22"
    assert columns([["a", ""], ["b", "c"]]) == "a\nb  c"


def test_tensor_table() -> None:
    """Parts without bits or loss leave blanks; the last line is the sum."""
    about = {"role": "matrix", "shape": (2, 3), "format": "g", "bits_per_weight": 4.0, "coded_bytes": 3, "share": 0.75}
    other = {"role": "", "shape": (), "format": "", "bits_per_weight": None, "coded_bytes": 1, "share": 0.25}
    lines = tensor_table(
        [{"name": "w", **about, "loss_share": 1.0}, {"name": "header", **other, "loss_share": None}]
    ).splitlines()
    assert lines[1].split() == ["w", "matrix", "2x3", "g", "4.000", "3", "75.00", "%", "100.00", "%"]
    assert lines[2].split() == ["header", "1", "25.00", "%"]
    assert lines[3].split() == ["total", "4", "100.00", "%", "100.00", "%"]


def test_summary_says_when_compressors_saw_a_sample() -> None:
    """Records of schema 1 and of all documents look alike; a sample is named by its size."""
    whole, sampled = copy.deepcopy(OLD), copy.deepcopy(OLD)
    sizes = {"documents": 1000, "of_documents": 1000, "bytes": 5, "of_bytes": 5}
    whole["compressors"]["sample"] = sizes
    sampled["compressors"]["sample"] = {**sizes, "of_documents": 2500}
    assert OLD["schema"] == 1 and summary(OLD, "x") == summary(whole, "x")
    assert "each document alone" in summary(whole, "x")
    assert "sample as one" in summary(sampled, "x") and "1,000 of 2,500 documents alone" in summary(sampled, "x")
    assert "gzip" not in summary({**OLD, "compressors": {}}, "x")
