"""What an adaptation is: code that changes a model's predictions while a text is scored, from what was scored before.

An adaptation is one file in this folder: a frozen dataclass of settings, and one subclass of Adaptation that names it.
The file's name is the adaptation's name everywhere: in a recipe (`[score.adapt.lora]`), on the command line
(`--adapt lora`), in the header of a `.bcap` file. Nothing else lists it (docs/extending.md).

Several documents may run side by side, one in each row of the batch. What an adaptation keeps for a row is forgotten
when `reset` says that a document begins there.

Letters: B rows, T positions of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bytecap.model.gpt import GPT
from bytecap.scoring.ledger import Scored


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """The settings of an adaptation; one without any keeps this class empty."""


class Adaptation:
    """Base of all adaptations: each method does nothing unless overridden.

    A chunk is the model's pass, `raw_logits`, `softcap`, `logits`, log softmax, `mix`; then the loss is committed; then
    `learn`. What is shown before the commit are inputs, of which position t may use those up to t and no others: the
    contract tests and the audit hold it to that. What was scored arrives in `learn` alone.
    """

    config_class: ClassVar[type[AdaptationConfig]] = AdaptationConfig
    """The class of its settings."""
    needs_gradient: ClassVar[bool] = False
    """True when `learn` uses `scored.loss_BT`, which then keeps the graph of the pass that was scored."""

    moves_weights: ClassVar[bool] = False
    """True when it replaces the model's parameters; at most one may, as others would learn for the old ones."""

    def __init__(self, config: AdaptationConfig) -> None:
        pass

    @property
    def across_documents(self) -> bool:
        """True when its state is kept across documents, which then run one after the other; `reset` is not called."""
        return False

    @property
    def in_order(self) -> bool:
        """True when documents must run one after the other: also where `reset` is called and something stays."""
        return self.across_documents

    @property
    def chunk(self) -> int | None:
        """Positions of a document between two calls of `learn`; None: any number."""
        return None

    @property
    def max_rows(self) -> int | None:
        """Most documents that may run side by side; None: any number."""
        return None

    def read_texts(self, text_V: Sequence[str]) -> None:
        """Receive the text of each token, spaces as they are; called before `begin` where the tokenizer is known."""

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """Join a model that is about to run a stream in `rows` rows, and forget what was kept.

        The model is the engine's own copy, and its parameters require no gradients until an adaptation says so. It is
        called again, with the same model, when another stream begins.
        """

    def reset(self, row: int) -> None:
        """Forget what is kept for a row: its next token begins a document."""

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these: what was row `rows[i]` is row i from here on."""

    def raw_logits(self, logits_BTV: Tensor, hidden_BTD: Tensor) -> Tensor:
        """Change the logits before the softcap, float32; `hidden_BTD` is what they were computed from."""
        return logits_BTV

    def softcap(self, cap: float | Tensor, logits_BTV: Tensor) -> float | Tensor:
        """Change the softcap of those logits; not called for a model without one."""
        return cap

    def logits(self, logits_BTV: Tensor, hidden_BTD: Tensor, inputs_BT: Tensor) -> Tensor:
        """Change the logits before the softmax."""
        return logits_BTV

    def mix(self, log_probs_BTV: Tensor, inputs_BT: Tensor) -> Tensor:
        """Change the log probabilities, normalized in and normalized out; no gradient is taken through this.

        Adaptations that learn by gradients do so as if the model's distribution were multiplied by factors
        and normalized again.

        Position t of a row knows `inputs_BT[:, : t + 1]` and all that the row held before. After the end of a document
        `inputs_BT` is padded with BOS; what is returned there is ignored.
        """
        return log_probs_BTV

    def learn(self, scored: Scored) -> None:
        """Learn from positions whose loss is written down; called once for each chunk."""
