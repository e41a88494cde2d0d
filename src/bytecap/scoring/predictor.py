"""What a score asks of a model, ours or anybody's: forget, say what comes next, learn from what was scored.

In:   tokens, in the order of a stream.
Out:  natural log probabilities of the token after each of them.

Letters: T positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from bytecap.core.errors import ConfigError
from bytecap.scoring.ledger import Scored


class Predictor(Protocol):
    """The small interface by which `bytecap.score` and `bytecap.audit` measure any language model.

    >>> import bytecap, torch
    >>> class Uniform:
    ...     vocab_size = 300
    ...     def reset(self):
    ...         pass
    ...     def log_probs(self, tokens_T):
    ...         return torch.full((len(tokens_T), self.vocab_size), -torch.tensor(300.0).log())
    ...     def learn(self, scored):
    ...         pass
    """

    @property
    def vocab_size(self) -> int:
        """V: how many tokens there are."""

    def reset(self) -> None:
        """Forget everything: a stream begins. Documents within it begin at BOS, which is one of the tokens."""

    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """Natural log probabilities (T, V) of the token after each of `tokens_T`, float32 or float64.

        Row t knows the tokens of all calls since `reset` up to and with `tokens_T[t]`, and nothing behind it. Each row
        sums to one over the whole vocabulary.
        """

    def learn(self, scored: Scored) -> None:
        """Learn from tokens whose loss is written down, or do nothing; called after each `log_probs`."""


def checked_predictor(value: Any) -> Predictor:
    """The same object; ConfigError with what it lacks of a Predictor."""
    form = "an object with a whole vocab_size, reset(), log_probs(tokens_T) and learn(scored)"
    if isinstance(value, type):
        raise ConfigError(f"the class {value.__name__} is no predictor; make an object of it: {value.__name__}(...)")
    lacking = [name for name in ("reset", "log_probs", "learn") if not callable(getattr(value, name, None))]
    vocab_size = getattr(value, "vocab_size", None)
    if not lacking and isinstance(vocab_size, int | np.integer) and not isinstance(vocab_size, bool) and vocab_size > 0:
        return cast(Predictor, value)
    what = f"lacks {', '.join(lacking)}" if lacking else f"has vocab_size {vocab_size!r}"
    raise ConfigError(f"{type(value).__name__} {what}; what is scored must be a .bcap file, or {form}")


def next_log_probs(predictor: Predictor, tokens_T: Tensor, vocab_size: int) -> Tensor:
    """What a predictor says of the tokens after these, (T, V) on any device.

    ConfigError for what is no plain tensor of float32 or float64 with a row over the vocabulary for each token.
    """
    found_TV: Any = predictor.log_probs(tokens_T)
    if type(found_TV) is not Tensor:
        raise ConfigError(
            f"log_probs gave a {type(found_TV).__name__}; it must give a plain torch.Tensor, as torch.from_numpy makes "
            "of an array"
        )
    shape = (len(tokens_T), vocab_size)
    if tuple(found_TV.shape) != shape:
        raise ConfigError(
            f"log_probs gave {tuple(found_TV.shape)} for {shape[0]} tokens; it must give one row of {shape[1]:,} log "
            "probabilities for each token"
        )
    if found_TV.dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"log_probs gave {found_TV.dtype}; it must give float32 or float64")
    return found_TV
