"""The memory of a document: what followed the same tokens, and the same states, earlier in the document being scored.

No byte of it is in the file, and no gradient is taken: counts of the tokens so far are mixed into the model's
distribution before the next token is known, a position at a time. docs/scoring.md defines it.

Letters: B rows, T positions of a chunk, L positions of a document, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bytecap.core.errors import ConfigError
from bytecap.core.settings import history
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.memory_earlier import EarlierDocuments
from bytecap.scoring.memory_mixing import Mixture, forget_document, mix, new_memory
from bytecap.scoring.memory_prior import built_in_mixture
from bytecap.scoring.memory_states import Likeness, likeness
from bytecap.scoring.memory_tables import TOKENS, with_room
from bytecap.scoring.memory_words import Pieces, read_pieces
from bytecap.scoring.state_metric import StateMetric, state_metric

_ROOM = 1024
"""Tokens of a document that a row has room for at first."""


@dataclass(frozen=True, kw_only=True)
class DocumentMemoryConfig(AdaptationConfig):
    """How long a document is remembered."""

    kept: bool = False
    """True: over all documents, which then run one after the other; better where many short ones are alike."""
    earlier_documents: bool = False
    """True: those before are a second source beside the document's own; documents then run one after the other."""
    context_weights: bool = field(default=True, metadata=history(first_default=False))
    """True: where earlier documents are known, it is learned from them how far to trust each unit in a context."""

    def __post_init__(self) -> None:
        """ConfigError where earlier documents would be known twice."""
        if self.kept and self.earlier_documents:
            raise ConfigError(
                "document_memory.kept makes one document of the text, which leaves none for "
                "document_memory.earlier_documents; choose one of them"
            )


class _DocumentRow:
    """What one document has said, and the model's states at its positions as unit vectors."""

    def __init__(self, width: int, mixture: Mixture, pieces: Pieces, config: DocumentMemoryConfig) -> None:
        vocab_size = pieces.relative_V.size
        self._mixture = mixture
        learns = config.earlier_documents and config.context_weights
        self._memory = new_memory(mixture, vocab_size, _ROOM, pieces, learns=learns)
        self._earlier = EarlierDocuments(vocab_size, pieces) if config.earlier_documents else None
        self._unit_LD, self._aligned_L = np.zeros((_ROOM, width), np.float32), np.zeros(_ROOM, np.float32)
        self.forget()

    def forget(self) -> None:
        """A document has ended, and the next begins."""
        tables = self._memory.tables
        if self._earlier is not None and tables.numbers_5[TOKENS] > 0:
            self._earlier.add(tables.history_L[: tables.numbers_5[TOKENS]])
        if self._earlier is not None:
            self._memory = self._memory._replace(earlier=self._earlier.source)
        forget_document(self._memory, self._mixture)

    def mix(
        self, like: Likeness, log_p_TV: npt.NDArray[np.float32], inputs_T: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """The mixture behind each of the next tokens, whose states were added before."""
        return mix(self._memory, self._mixture, like, log_p_TV, inputs_T)

    def add(self, unit_TD: npt.NDArray[np.float32]) -> Likeness:
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
        self.config = config
        self._mixture: Mixture = built_in_mixture(earlier_documents=config.earlier_documents)
        self._metric: StateMetric | None = None
        self._rows: list[_DocumentRow] = []
        self._pieces: Pieces | None = None
        self._text_V: Sequence[str] = ()
        self._states_BTD = torch.zeros(0)

    @property
    def across_documents(self) -> bool:
        """True where earlier documents are remembered."""
        return self.config.kept

    @property
    def in_order(self) -> bool:
        """True where a document knows of those before it."""
        return self.config.kept or self.config.earlier_documents

    def read_texts(self, text_V: Sequence[str]) -> None:
        """Words are known from here on."""
        self._text_V, self._pieces = text_V, None

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """Every row begins without a memory."""
        pieces = self._pieces
        if pieces is None:
            pieces = self._pieces = read_pieces(self._text_V, model.spec.vocab_size)
        if self.config.earlier_documents and self._metric is None:  # of the file's weights, which others may move later
            self._metric = state_metric(model, bos)
        self._rows = [_DocumentRow(model.spec.d_model, self._mixture, pieces, self.config) for _ in range(rows)]

    def reset(self, row: int) -> None:
        """Forget the row's document."""
        self._rows[row].forget()

    def keep(self, rows: Sequence[int]) -> None:
        """Give up the other rows."""
        self._rows = [self._rows[row] for row in rows]

    def raw_logits(self, logits_BTV: Tensor, hidden_BTD: Tensor) -> Tensor:
        """Remember the states as unit vectors; the logits stay."""
        if self._metric is None:
            self._states_BTD = torch.nn.functional.normalize(hidden_BTD.detach().float(), dim=-1).cpu()
        else:
            self._states_BTD = self._metric.unit_states(hidden_BTD)
        return logits_BTV

    def mix(self, log_probs_BTV: Tensor, inputs_BT: Tensor) -> Tensor:
        """The mixture with each row's memory, position by position; the rows share the threads of PyTorch."""
        log_p_BTV = log_probs_BTV.detach().to("cpu", torch.float32).contiguous().numpy()
        like_B = [row.add(unit_TD) for row, unit_TD in zip(self._rows, self._states_BTD.numpy(), strict=True)]
        given = (self._rows, like_B, log_p_BTV, inputs_BT.cpu().numpy())
        if len(self._rows) == 1:  # no thread to start, and nothing to copy
            return torch.from_numpy(next(map(_DocumentRow.mix, *given))[None]).to(log_probs_BTV.device)
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            mixed = list(threads.map(_DocumentRow.mix, *given))
        return torch.from_numpy(np.stack(mixed)).to(log_probs_BTV.device)
