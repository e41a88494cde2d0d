"""The score is over the whole held-out text: every document, every token but the first.

Rule: D2. Source: openai/parameter-golf #1835, #1854, #1858, which scored 3 to 10 million of some 45 million tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept
from bytecap.auditing.subject import Question
from bytecap.core.settings import bounds
from bytecap.core.units import counted

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class AllDocumentsConfig(ProbeConfig):
    """How many there must be."""

    documents: int | None = field(default=None, metadata=bounds(1))
    """Documents of the held-out text; None: as many as it has."""


class AllDocuments(Probe):
    """Counts documents and tokens."""

    config_class = AllDocumentsConfig
    needs = ("text",)

    def __init__(self, config: AllDocumentsConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """The tokens that the score claims are those of the text, and the documents as many as the rules say."""
        text = question.text
        parts = (text.stream.read(start, _CHUNK) for start in range(0, len(text.stream), _CHUNK))
        documents = sum(int(np.count_nonzero(part_N == text.bos)) for part_N in parts)
        targets = len(text.stream) - 1
        found = f"the held-out text has {counted(documents, 'document')} and {counted(targets, 'target')}"
        if self.config.documents not in (None, documents):
            return broken(f"{found}; these rules score {self.config.documents:,} documents", documents, "documents")
        if text.claimed_tokens not in (None, targets):
            return broken(f"{found}; the score is over {text.claimed_tokens:,}", text.claimed_tokens, "tokens")
        said = "it is not known how many were scored" if text.claimed_tokens is None else "all of them were scored"
        return kept(f"{found}; {said}", targets, "tokens")
