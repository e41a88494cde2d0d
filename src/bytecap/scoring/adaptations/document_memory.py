"""The memory of a document: what followed the same tokens, and the same states, earlier in the document being scored.

No byte of it is in the file, and no gradient is taken: counts of the tokens so far are mixed into the model's
distribution before the next token is known, a position at a time. docs/scoring.md defines it.

Letters: B rows, T positions of a chunk, L positions of a document, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.memory_candidates import Likeness, likeness
from bytecap.scoring.memory_mixing import Mixture, forget_document, mix, new_memory
from bytecap.scoring.memory_prior import built_in_mixture
from bytecap.scoring.memory_tables import TOKENS, with_room
from bytecap.scoring.memory_words import Pieces, read_pieces

_ROOM = 1024
"""Tokens of a document that a row has room for at first."""
_TOGETHER = 64
"""Positions whose states are compared in one product."""


@dataclass(frozen=True, kw_only=True)
class DocumentMemoryConfig(AdaptationConfig):
    """How long a document is remembered."""

    kept: bool = False
    """True: over all documents, which then run one after the other; better where many short ones are alike."""


class _DocumentRow:
    """What one document has said, and the model's states at its positions as unit vectors."""

    def __init__(self, width: int, mixture: Mixture, pieces: Pieces) -> None:
        self._mixture, self._memory = mixture, new_memory(pieces.relative_V.size, _ROOM, pieces)
        self._unit_LD, self._aligned_L = np.zeros((_ROOM, width), np.float32), np.zeros(_ROOM, np.float32)
        self.forget()

    def forget(self) -> None:
        forget_document(self._memory, self._mixture)

    def mix(
        self, unit_TD: npt.NDArray[np.float32], log_p_TV: npt.NDArray[np.float32], inputs_T: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """The mixture behind each of the next tokens, of which these are states and log probabilities."""
        mixed = []
        for first in range(0, len(inputs_T), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            like = self._add(unit_TD[part])
            mixed.append(mix(self._memory, self._mixture, like, log_p_TV[part], inputs_T[part]))
        return np.concatenate(mixed)

    def _add(self, unit_TD: npt.NDArray[np.float32]) -> Likeness:
        """Make room for the next tokens, whose states these are; how like they are to those before."""
        tables = self._memory.tables
        begin, end = int(tables.numbers_5[TOKENS]), int(tables.numbers_5[TOKENS]) + len(unit_TD)
        self._memory = self._memory._replace(tables=with_room(tables, len(unit_TD)))
        if (more := self._memory.tables.history_L.size - len(self._aligned_L)) > 0:
            self._unit_LD = np.pad(self._unit_LD, ((0, more), (0, 0)))
            self._aligned_L = np.pad(self._aligned_L, (0, more))
        self._unit_LD[begin:end] = unit_TD
        return likeness(self._unit_LD, self._aligned_L, begin, end)


class DocumentMemory(Adaptation):
    """Mixes the statistics of the tokens so far into the model's distribution."""

    config_class = DocumentMemoryConfig

    def __init__(self, config: DocumentMemoryConfig) -> None:
        super().__init__(config)
        self._kept = config.kept
        self._mixture: Mixture = built_in_mixture()
        self._rows: list[_DocumentRow] = []
        self._text_V: Sequence[str] = ()
        self._states_BTD = torch.zeros(0)

    @property
    def across_documents(self) -> bool:
        """True where earlier documents are remembered."""
        return self._kept

    def read_texts(self, text_V: Sequence[str]) -> None:
        """Words are known from here on."""
        self._text_V = text_V

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """Every row begins without a memory."""
        pieces = read_pieces(self._text_V, model.spec.vocab_size)
        self._rows = [_DocumentRow(model.spec.d_model, self._mixture, pieces) for _ in range(rows)]

    def reset(self, row: int) -> None:
        """Forget the row's document."""
        self._rows[row].forget()

    def keep(self, rows: Sequence[int]) -> None:
        """Give up the other rows."""
        self._rows = [self._rows[row] for row in rows]

    def raw_logits(self, logits_BTV: Tensor, hidden_BTD: Tensor) -> Tensor:
        """Remember the states as unit vectors; the logits stay."""
        self._states_BTD = torch.nn.functional.normalize(hidden_BTD.detach().float(), dim=-1).cpu()
        return logits_BTV

    def mix(self, log_probs_BTV: Tensor, inputs_BT: Tensor) -> Tensor:
        """The mixture with each row's memory, position by position; the rows share the threads of PyTorch."""
        states_BTD, inputs_BT = self._states_BTD.numpy(), inputs_BT.cpu()
        log_p_BTV = log_probs_BTV.detach().to("cpu", torch.float32).contiguous().numpy()
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            mixed = list(threads.map(_DocumentRow.mix, self._rows, states_BTD, log_p_BTV, inputs_BT.numpy()))
        return torch.from_numpy(np.stack(mixed)).to(log_probs_BTV.device)
