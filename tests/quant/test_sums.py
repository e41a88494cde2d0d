"""Sums by part are those of each part's own rows."""

import torch

from bytecap.quant.parameters import Layout
from bytecap.quant.sums import MIN_BANDS, Sums, whole


def test_routed_rows_and_rows_of_each_part_add_up_alike() -> None:
    """Whether the rows come with an axis for parts or with a number each."""
    whole = slice(0, 3), slice(0, 4), slice(0, 5)
    layout = Layout(3, 4, 5, *whole, swapped=False, part_axes=(0,), row_axes=(1,), column_axes=(2,))
    rows, columns, part = torch.randn(20, 4), torch.randn(20, 5), torch.randint(0, 3, (20,))
    kept = torch.rand(20) < 0.7
    one, other = (Sums((3, 4, 5), torch.device("cpu"), full_rows=True, full_columns=False) for _ in range(2))
    one.add_routed(rows, columns, kept, part, layout)
    apart = torch.stack([(part == e) & kept for e in range(3)])
    other.add_parts(rows.expand(3, -1, -1), columns.expand(3, -1, -1), apart, layout)
    assert torch.allclose(one.rows, other.rows, atol=1e-5) and torch.allclose(one.columns, other.columns, atol=1e-5)
    assert torch.equal(one.seen, other.seen) and one.seen.sum() == kept.sum()
    mine = columns[(part == 1) & kept]
    assert torch.allclose(one.columns[1], mine.square().sum(dim=0), atol=1e-5)


def test_large_moments_are_added_in_bands() -> None:
    """The upper half of a block, and `whole` puts the lower one back."""
    size = MIN_BANDS + 37
    sums = Sums((1, 2, size), torch.device("cpu"), full_rows=False, full_columns=True)
    rows, at = torch.randn(5, size), slice(0, size)
    for _ in range(2):
        sums.add_columns(rows, at)
    assert torch.allclose(whole(sums.columns), 2 * rows.T @ rows, atol=1e-4)
    assert not torch.allclose(sums.columns, 2 * rows.T @ rows, atol=1e-4)
