"""Tables line up."""

from bytecap.report.tables import columns, tensor_table


def test_columns() -> None:
    """Left and right, without trailing blanks."""
    assert columns([["a", "1"], ["bbb", "22"]], right="lr") == "a     1\nbbb  22"
    assert columns([["a", ""], ["b", "c"]]) == "a\nb  c"
    assert tensor_table([["n", "r", "s", "g", "1", "2", "3"]], ["N", "R", "S", "G", "BB", "CC", "DD"]).startswith(
        "N  R"
    )
