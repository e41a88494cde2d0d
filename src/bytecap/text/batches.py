"""Training batches from a token stream: fixed windows in an order that needs no memory and can be resumed anywhere.

In:   a TokenStream, batch size B, context T, a seed, a position.
Out:  int64 windows of shape (B, T + 1): inputs are all but the last column, targets all but the first.

Each epoch visits every window once, in the order i -> (a i + b) mod n with a coprime to n drawn from the seed, and
shifts the window borders, so that no border stays where it was.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import DataError
from bytecap.core.units import counted
from bytecap.text.shards import TokenStream


class TrainBatches:
    """Endless batches; `position` (windows drawn so far) is the whole state.

    `share` takes some rows of every batch, such as `slice(1, None, 4)` for the second of four processes.
    """

    def __init__(
        self, stream: TokenStream, *, batch: int, context: int, seed: int, position: int = 0, share: slice = slice(None)
    ) -> None:
        self._windows = (len(stream) - 1) // context - 1
        if self._windows < 1:
            raise DataError(
                f"the training text has {counted(len(stream), 'token')}, fewer than two windows of {context}; give "
                "more text or lower --set train.context",
                tokens=len(stream),
            )
        self._stream, self._batch, self._context, self._seed = stream, batch, context, seed
        self._rows = range(batch)[share]
        self.position = position
        self.starts: list[int] = []
        """Where in the stream each row begins that `next` gave last."""
        self._epoch, self._order = -1, (0, 0, 0)

    def next(self) -> npt.NDArray[np.int64]:
        """The next (B, T + 1) windows, or the asked share of them; the position moves on by the whole B."""
        self.starts = [self._start(self.position + i) for i in self._rows]
        self.position += self._batch
        return np.stack([self._stream.read(start, self._context + 1) for start in self.starts])

    @property
    def epochs(self) -> float:
        """How often the text has been read."""
        return self.position / self._windows

    def _start(self, position: int) -> int:
        epoch, index = divmod(position, self._windows)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self._seed, epoch, self._windows, self._context)
        multiplier, offset, shift = self._order
        return ((multiplier * index + offset) % self._windows) * self._context + shift


def epoch_order(seed: int, epoch: int, windows: int, context: int) -> tuple[int, int, int]:
    """Multiplier (coprime to `windows`), offset, and shift of the window borders of one epoch."""
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    multiplier = int(random.integers(1, windows + 1))
    while math.gcd(multiplier, windows) != 1:
        multiplier = int(random.integers(1, windows + 1))
    return multiplier, int(random.integers(windows)), int(random.integers(context))
