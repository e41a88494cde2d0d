"""Any object with four members is a predictor; what is missing is named."""

from typing import Any

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.scoring.predictor import Predictor, checked_predictor


class Uniform:
    vocab_size = 50

    def reset(self) -> None:
        pass

    def log_probs(self, tokens_T: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(tokens_T), self.vocab_size).log_softmax(dim=-1)

    def learn(self, scored: Any) -> None:
        pass


def test_what_is_a_predictor() -> None:
    """The object itself is handed on."""
    predictor: Predictor = Uniform()
    assert checked_predictor(predictor) is predictor
    with pytest.raises(ConfigError, match=r"a object lacks reset, log_probs, learn; .* learn\(scored\)"):
        checked_predictor(object())
    wrong: Any = Uniform()
    wrong.vocab_size = 0.5
    with pytest.raises(ConfigError, match=r"has vocab_size 0\.5"):
        checked_predictor(wrong)
