"""What a model is shown in front of a chunk: the window before it, run again each time.

In:   the inputs of a chunk, lane by lane.
Out:  the hidden states of its positions.

Letters: B lanes, T positions of a chunk, W positions of a window, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bytecap.model.gpt import GPT


class WindowPast:
    """Keeps the last `before` tokens of each lane, which a chunk is the end of a window with.

    A shorter chunk, as at the end of a document, sees no more than a whole one, or its numbers would tell of the end.

    A lane that has fewer tokens than the longest begins with BOS again and again, each a document of its own.
    """

    def __init__(self, model: GPT, before: int, bos: int) -> None:
        self._model, self._before, self._bos = model, before, bos
        self.begin(1)

    def begin(self, lanes: int) -> None:
        """Nothing has been seen in any lane."""
        self._seen: list[Tensor] = [torch.zeros(0, dtype=torch.int64)] * lanes

    def reset(self, lane: int) -> None:
        """A document begins in a lane; what lies before it stays only where the model looks across documents."""
        if not self._model.spec.across_documents:
            self._seen[lane] = torch.zeros(0, dtype=torch.int64)

    def keep(self, lanes: Sequence[int]) -> None:
        """Give up all lanes but these."""
        self._seen = [self._seen[lane] for lane in lanes]

    def hidden(self, inputs_BT: Tensor) -> Tensor:
        """The hidden states of a chunk, (B, T, D)."""
        width = max(map(len, self._seen))
        rows_BW = torch.full((len(self._seen), width + inputs_BT.size(1)), self._bos)
        for lane, seen in enumerate(self._seen):
            rows_BW[lane, width - len(seen) : width] = seen
        rows_BW[:, width:] = inputs_BT
        rows = zip(self._seen, inputs_BT, strict=True)
        self._seen = [torch.cat((seen, row))[max(0, len(seen) + len(row) - self._before) :] for seen, row in rows]
        device = next(self._model.parameters()).device
        return self._model.hidden(rows_BW.to(device), self._bos)[:, width:]
