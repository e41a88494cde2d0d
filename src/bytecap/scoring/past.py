"""What a model knows in front of a chunk: the window before it, run again each time, or the keys and values of it.

In:   the inputs of a chunk, row by row.
Out:  the hidden states of its positions.

Letters: B rows, T positions of a chunk, W positions of a window, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT

Strategy: TypeAlias = Literal["windows", "streaming"]
WINDOWS: Literal["windows"] = "windows"
STREAMING: Literal["streaming"] = "streaming"


class WindowPast:
    """Keeps the last `before` tokens of each row, which a chunk is the end of a window with.

    A shorter chunk, as at the end of a document, sees no more than a whole one, or its numbers would tell of the end.

    A row that has fewer tokens than the longest begins with BOS again and again, each a document of its own.
    """

    def __init__(self, model: GPT, before: int, bos: int) -> None:
        self._model, self._before, self._bos = model, before, bos
        self.begin(1)

    def begin(self, rows: int) -> None:
        """Nothing has been seen in any row."""
        self._seen: list[Tensor] = [torch.zeros(0, dtype=torch.int64)] * rows

    def reset(self, row: int) -> None:
        """A document begins in a row; what lies before it stays only where the model looks across documents."""
        if not self._model.spec.across_documents:
            self._seen[row] = torch.zeros(0, dtype=torch.int64)

    def keep(self, rows: Sequence[int]) -> None:
        """Give up all rows but these."""
        self._seen = [self._seen[row] for row in rows]

    def hidden(self, inputs_BT: Tensor) -> Tensor:
        """The hidden states of a chunk, (B, T, D)."""
        width = max(map(len, self._seen))
        rows_BW = torch.full((len(self._seen), width + inputs_BT.size(1)), self._bos)
        for row, seen in enumerate(self._seen):
            rows_BW[row, width - len(seen) : width] = seen
        rows_BW[:, width:] = inputs_BT
        pairs = zip(self._seen, inputs_BT, strict=True)
        self._seen = [torch.cat((seen, new))[max(0, len(seen) + len(new) - self._before) :] for seen, new in pairs]
        device = next(self._model.parameters()).device
        return self._model.hidden(rows_BW.to(device), self._bos)[:, width:]


class CachePast:
    """Keeps keys and values of the last `context` positions of each row.

    What an adaptation has learned since then does not change them, and gradients do not reach through them.
    """

    def __init__(self, model: GPT, context: int, bos: int) -> None:
        self._model, self._context, self._bos = model, context, bos
        self.begin(1)

    def begin(self, rows: int) -> None:
        """Nothing has been seen in any row."""
        self._cache = Cache(self._context)

    def reset(self, row: int) -> None:
        """A document begins in a row, at BOS, which the model knows by itself."""

    def keep(self, rows: Sequence[int]) -> None:
        """Give up all rows but these."""
        self._cache.keep(rows)

    def hidden(self, inputs_BT: Tensor) -> Tensor:
        """The hidden states of a chunk, (B, T, D)."""
        device = next(self._model.parameters()).device
        return self._model.hidden(inputs_BT.to(device), self._bos, cache=self._cache)


Past: TypeAlias = WindowPast | CachePast


def build_past(model: GPT, strategy: Strategy, *, bos: int, context: int, chunk: int) -> Past:
    """The past of a strategy; chunks have at most `chunk` positions."""
    return CachePast(model, context, bos) if strategy == STREAMING else WindowPast(model, context - chunk, bos)
