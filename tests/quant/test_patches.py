"""Patches are what a kernel reads at each of its places."""

import torch

from bytecap.quant.patches import Spread


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
