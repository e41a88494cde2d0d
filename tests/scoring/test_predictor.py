"""Any object with four members is a predictor; what is missing is named."""

from typing import Any

import numpy as np
import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.scoring.predictor import Predictor, checked_predictor, next_log_probs


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
    with pytest.raises(ConfigError, match=r"object lacks reset, log_probs, learn; .* learn\(scored\)"):
        checked_predictor(object())
    wrong: Any = Uniform()
    wrong.vocab_size = 0.5
    with pytest.raises(ConfigError, match=r"has vocab_size 0\.5"):
        checked_predictor(wrong)
    wrong.vocab_size = np.int64(50)
    assert checked_predictor(wrong) is wrong
    with pytest.raises(ConfigError, match=r"class Uniform is no predictor; make an object of it: Uniform"):
        checked_predictor(Uniform)


class Flattering(torch.Tensor):
    """Sums to one, and gives every target all of it."""

    def gather(self, *_: Any, **__: Any) -> Any:
        return torch.zeros(1, 3, 1)


ROWS_TV = torch.zeros(3, 50).log_softmax(dim=-1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ROWS_TV.numpy(), "gave a ndarray; it must give a plain torch.Tensor, as torch.from_numpy"),
        (None, "gave a NoneType"),
        (ROWS_TV.tolist(), "gave a list"),
        (ROWS_TV.as_subclass(Flattering), "gave a Flattering"),
        (ROWS_TV[None], r"gave \(1, 3, 50\) for 3 tokens; it must give one row of 50"),
        (ROWS_TV[:1], r"gave \(1, 50\) for 3 tokens"),
        (torch.zeros(3, 60).log_softmax(dim=-1), r"gave \(3, 60\)"),
        (ROWS_TV.to(torch.complex64), "gave torch.complex64; it must give float32 or float64"),
    ],
)
def test_what_is_no_answer(answer: Any, message: str) -> None:
    """Anything but a plain tensor of the right shape, whatever methods it brings with it."""

    class Answers(Uniform):
        def log_probs(self, tokens_T: torch.Tensor) -> Any:
            return answer

    with pytest.raises(ConfigError, match=message):
        next_log_probs(Answers(), torch.arange(3), 50)
