"""Patches are what a kernel reads at each of its places."""

import pytest
import torch

from bytecap.quant.patches import Spread, moments_by_shifts


def test_patches_by_hand() -> None:
    """Place by place, with stride, dilation, padding and groups; one sample without a batch axis too."""
    x = torch.randn(2, 4, 9, 8)
    spread = Spread((3, 2), (2, 1), (1, 2), 2, (1, 0))
    padded, wanted = torch.nn.functional.pad(x, (0, 0, 1, 1)), []
    for sample in padded:
        for group in range(2):
            for row in range(0, 9 + 2 - 2, 2):
                for column in range(8 - 2):
                    wanted.append(sample[2 * group : 2 * group + 2, row : row + 3, column : column + 3 : 2].flatten())
    assert torch.equal(torch.cat(list(spread.patches(x))), torch.stack(wanted))
    half = len(wanted) // 2
    assert torch.equal(torch.cat(list(spread.patches(x[0]))), torch.stack(wanted[:half]))


@pytest.mark.parametrize(
    ("spread", "shape"),
    [
        (Spread((40,), (1,), (1,), 1, (3,)), (3, 2, 90)),
        (Spread((40,), (4,), (1,), 1, (0,)), (3, 2, 190)),
        (Spread((16,), (2,), (2,), 1, "valid"), (2, 3, 120)),
        (Spread((16,), (4,), (2,), 2, (5,)), (2, 4, 160)),
        (Spread((1, 24), (2, 1), (1, 1), 1, (0, 2)), (2, 3, 5, 60)),
        (Spread((24, 1), (1, 3), (1, 1), 4, (2, 0)), (2, 4, 60, 7)),
        (Spread((24,), (3,), (1,), 1, (0,)), (2, 70)),
    ],
)
def test_second_moments_by_shifts_are_those_of_the_patches(spread: Spread, shape: tuple[int, ...]) -> None:
    """One axis, any stride, dilation and groups; the diagonal too."""
    x = torch.randn(shape)
    x[..., :20] *= 10  # loud where it begins
    rows = torch.cat(list(spread.patches(x))).double()
    whole, diagonal = torch.zeros(rows.size(1), rows.size(1)), torch.zeros(rows.size(1))
    lines, stride, dilation = spread._as_lines(x)
    assert moments_by_shifts(lines, max(spread.kernel), stride, dilation) is not None
    assert spread.add_moments(x, whole) == spread.add_moments(x, diagonal) == len(rows)
    wanted = (rows.T @ rows).float()
    assert torch.allclose(whole, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))
    assert torch.allclose(diagonal, wanted.diagonal(), rtol=1e-4)


def test_where_shifts_do_not_pay() -> None:
    """Short kernels, few positions, steps that are no multiple of the dilation."""
    x = torch.randn(2, 3, 50)
    assert moments_by_shifts(x, 20, 3, 2) is None
    assert moments_by_shifts(x[..., :21], 20, 1, 1) is None and moments_by_shifts(x, 4, 4, 1) is None
