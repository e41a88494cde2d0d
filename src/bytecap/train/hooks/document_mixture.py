"""Train the model for a mixture with the statistics of the document, as a score with a memory makes one.

    weight of a target's loss = 1 - strength * m / (a p + m)

p is the model's probability at that moment, a its share and m the part that n-grams of the document so far add
(train/document_ngrams.py): what the document itself will tell is not learned at full weight. With strength 1 it is the
gradient of -log(a p + m), the loss of the mixture itself.

Letters: B windows, T positions.
Source:  the loss of a mixture with counts; neural n-gram hybrids, arXiv 1606.00499.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bytecap.core.settings import bounds
from bytecap.model.mean_loss import MixtureWeights
from bytecap.train.document_ngrams import MAX_TOKENS, document_mixture
from bytecap.train.hooks.base import HookConfig, TrainingHook

if TYPE_CHECKING:
    from bytecap.train.loop import TrainingJob


@dataclass(frozen=True, kw_only=True)
class DocumentMixtureConfig(HookConfig):
    """How much the loss of what the document tells is lowered, and how far back it is read."""

    strength: float = field(default=0.3, metadata=bounds(1e-6, 1.0))
    """s; 1 is the loss of the mixture itself."""
    reach: int = field(default=4096, metadata=bounds(0, MAX_TOKENS // 2))
    """Tokens before a window that are counted, as far as they are of its document."""


class DocumentMixture(TrainingHook):
    """Reads the text before each window; keeps nothing."""

    config_class = DocumentMixtureConfig
    changes = ("loss",)

    def __init__(self, config: DocumentMixtureConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config, self.device = config, next(model.parameters()).device

    def prepare(self, job: TrainingJob) -> None:
        """Keep the text."""
        self.stream, self.bos, self.context = job.stream, job.bos, job.config.context

    def mixture(self, starts: Sequence[int], progress: float) -> MixtureWeights:
        """Share and added part of the windows that begin there."""
        found = []
        for start in starts:
            begin = max(0, start - self.config.reach)
            token_L = self.stream.read(begin, start - begin + self.context + 1)
            found.append(document_mixture(token_L, start - begin + 1, self.bos))
        share_BT, added_BT = zip(*found, strict=True)
        share_N, added_N = (torch.from_numpy(np.concatenate(rows)).to(self.device) for rows in (share_BT, added_BT))
        return MixtureWeights(share_N, added_N, self.config.strength)
