"""How many different positions a calibration has seen.

In:   the output of a forward function at each position.
Out:  a count, exact up to a bound beyond which it does not matter.

Equal inputs have equal outputs, so positions are distinguished by their logits, their real outputs or their losses.

Letters: N positions, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from bytecap.quant.outputs import ModelOutput

ENOUGH = 4_096
"""Distinct positions at which counting stops."""
_DROPPED_BITS, _DROPPED_BITS_OF_LOSS = 10, 6
"""Last bits of a float32 that may differ between runs of the same input; the others resolve 1 part in 8,000. Losses,
which lie closer together and have no logits that cancel out, 1 in 131,000; at worst an input counts twice."""


class DistinctPositions:
    """A running count of positions with different outputs."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._mixed_V: Tensor | None = None

    @property
    def count(self) -> int:
        """Different positions so far, at most `ENOUGH`."""
        return min(len(self._seen), ENOUGH)

    def add(self, output: ModelOutput) -> None:
        """See the positions of one batch: logits (N, V) or real outputs (N, K), or losses (N,)."""
        if self.count == ENOUGH:
            return
        with torch.no_grad():
            if isinstance(output, Tensor):
                value_N, dropped = output, _DROPPED_BITS_OF_LOSS
            else:
                value_N, dropped = self._mixed(output[0]), _DROPPED_BITS
            keys_N = value_N.float().cpu().contiguous().numpy().view(np.int32) >> dropped
        self._seen.update(np.unique(keys_N).tolist())

    def _mixed(self, logits_NV: Tensor) -> Tensor:
        """One number for each position, in which every logit has a weight of its own."""
        if self._mixed_V is None or self._mixed_V.numel() != logits_NV.size(1):
            generator = torch.Generator().manual_seed(0)
            self._mixed_V = torch.randn(logits_NV.size(1), generator=generator).to(logits_NV.device)
        return logits_NV.float() @ self._mixed_V
