"""Tables line up."""

from bytecap.report.tables import columns, tensor_table


def test_columns() -> None:
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
