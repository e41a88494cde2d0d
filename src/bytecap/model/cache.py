"""What a model keeps of the tokens it has seen, so that the next ones cost one pass over themselves alone.

In:   chunks of neighbouring tokens, one after the other, through `GPT.hidden(tokens_BT, bos, cache=cache)`.
Out:  the hidden states of one pass over all of them in which each position sees at most `context` positions.

Kept for each visit of a block: the keys, turned by their position, and the values of the last `context` positions; for
each use of `Context.previous`: the last position. Attention depends on distances alone, so positions may grow for ever
(angles are taken in float64).

Letters: B sequences, T positions of a chunk, S positions that are kept and those of the chunk, D width, G key/value
         heads, K head width.
Source:  the cache of Transformer-XL, arXiv 1901.02860, with each position's own window as in Longformer, 2004.05150.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor


class Cache:
    """The past of a batch of sequences; nothing in it carries gradients.

    Tensors are replaced and never changed, so a copy costs nothing and stays as it was.

    >>> cache = Cache(context=512)
    >>> cache.positions
    0
    """

    def __init__(self, context: int) -> None:
        if context < 1:
            raise ValueError(f"a cache of {context} positions keeps nothing; it needs 1 at least")
        self.context = context
        self.positions = 0
        """How many positions each sequence has had."""
        self._document_BS: Tensor | None = None
        self._pairs: dict[int, tuple[Tensor, Tensor]] = {}
        self._neighbours: list[Tensor] = []
        self._uses = 0

    def copy(self) -> Self:
        """The same past, from which something else may follow."""
        copied = type(self)(self.context)
        copied.positions, copied._document_BS = self.positions, self._document_BS
        copied._pairs, copied._neighbours = dict(self._pairs), list(self._neighbours)
        return copied

    def keep(self, rows: Sequence[int]) -> None:
        """Give up all sequences but these: what was `rows[i]` is sequence i from here on."""
        index = list(rows)
        if self._document_BS is not None:
            self._document_BS = self._document_BS[index]
        self._pairs = {place: (key[index], value[index]) for place, (key, value) in self._pairs.items()}
        self._neighbours = [last_B1D[index] for last_B1D in self._neighbours]

    def documents(self, document_BT: Tensor) -> Tensor:
        """Begin a chunk: its documents' numbers continue from those kept, (B, S).

        ValueError for another number of sequences than there were before.
        """
        self._uses = 0
        self.positions += document_BT.size(1)
        if self._document_BS is not None:
            if len(document_BT) != len(self._document_BS):
                raise ValueError(
                    f"the chunk is of another number of sequences ({len(document_BT)}) than the cache "
                    f"({len(self._document_BS)})"
                )
            document_BT = torch.cat((self._document_BS, document_BT + self._document_BS[:, -1:]), dim=1)
        self._document_BS = document_BT[:, -self.context :]
        return document_BT

    def extend(self, place: int, key_BGTK: Tensor, value_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all S positions at the visit `place`; the last of them are kept."""
        if place in self._pairs:
            old_key_BGSK, old_value_BGSK = self._pairs[place]
            key_BGTK = torch.cat((old_key_BGSK, key_BGTK), dim=2)
            value_BGTK = torch.cat((old_value_BGSK, value_BGTK), dim=2)
        kept = slice(-self.context, None)
        self._pairs[place] = key_BGTK.detach()[:, :, kept], value_BGTK.detach()[:, :, kept]
        return key_BGTK, value_BGTK

    def neighbour(self, x_BTD: Tensor) -> Tensor:
        """The last position of the chunk before at this use of `Context.previous`, (B, 1, D), zeros at first."""
        last_B1D = x_BTD[:, -1:].detach()
        use, self._uses = self._uses, self._uses + 1
        if use == len(self._neighbours):
            self._neighbours.append(last_B1D)
            return torch.zeros_like(last_B1D)
        before_B1D, self._neighbours[use] = self._neighbours[use], last_B1D
        return before_B1D
