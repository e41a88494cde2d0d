"""The low-rank addition against loops, and the sizes that a reader derives from a shape."""

import numpy as np
import pytest

from bytecap.formats.low_rank_corrected import GROUP, LowRank, group_count, low_rank_rank


def example(rows: int, columns: int) -> LowRank:
    """Random integers and scales."""
    rng = np.random.default_rng(0)
    rank, groups = low_rank_rank(rows, columns), group_count(rows, columns)
    return LowRank(
        rng.integers(-2, 2, (rows, rank)).astype(np.int8), np.float16(0.75),
        rng.integers(-8, 8, (rank, columns)).astype(np.int8), rng.uniform(0.1, 1, groups).astype(np.float16),
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), [(5, 70), (3, 64), (9, 1), (1, 200)])
def test_the_correction_is_left_times_scaled_right(rows: int, columns: int) -> None:
    """Left times right, with one scale for each 64 numbers of the right factor in row order."""
    one = example(rows, columns)
    rank = min(4, rows, columns)
    expected = np.zeros((rows, columns))
    for o in range(rows):
        for i in range(columns):
            for r in range(rank):
                scale = float(one.right_scales_G[(r * columns + i) // 64])
                expected[o, i] += int(one.left_OR[o, r]) * 0.75 * int(one.right_RI[r, i]) * scale
    assert one.product().dtype == np.float32 and np.array_equal(one.product(), expected.astype(np.float32))


def test_ranks_and_scales_of_small_tensors() -> None:
    """Four directions or as many as there are; a short last group has a scale too."""
    assert (low_rank_rank(2048, 512), group_count(2048, 512)) == (4, 32)
    assert (low_rank_rank(3, 100), group_count(3, 100)) == (3, 5)
    assert (low_rank_rank(7, 1), group_count(7, 1), GROUP) == (1, 1, 64)
