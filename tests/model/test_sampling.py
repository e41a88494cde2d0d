"""Sampling continues with what the model finds likely."""

import math
from typing import Any

import pytest
import torch

from bytecap.core.errors import ConfigError, NumericsError
from bytecap.model.gpt import GPT
from bytecap.model.sampling import Sampling, model_logits, sample
from tests.model.test_cache import with_one_mask
from tests.model.test_gpt import SPEC, random_model


def greedy(model: GPT, ids: list[int], tokens: int) -> list[int]:
    for _ in range(tokens):
        ids = [*ids, int(model.logits(model.hidden(torch.tensor([ids]), 1))[0, -1].argmax())]
    return ids


def test_temperature_zero_is_greedy_and_seeds_repeat() -> None:
    """Zero temperature takes the likeliest token; equal seeds give equal text; `stop` ends it."""
    model, prompt = random_model(), [1, 5]
    expected = greedy(model, prompt, 6)[2:]

    def drawn_with(temperature: float, stop: int) -> list[int]:
        sampling = Sampling(tokens=6, temperature=temperature, seed=3)
        return sample(model_logits(model, context=99, bos=1), prompt, sampling, stop=stop)

    assert drawn_with(temperature=0.0, stop=-1) == expected
    assert drawn_with(temperature=0.0, stop=expected[0]) == []
    drawn = [drawn_with(temperature=1.0, stop=-1) for _ in range(2)]
    assert drawn[0] == drawn[1] and all(0 <= t < SPEC.vocab_size for t in drawn[0])


@pytest.mark.parametrize("length", [1, 5, 12])
def test_beyond_the_context_each_position_has_its_own(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that outgrows the context goes on as one pass with a mask would have it, long prompts included."""
    model, prompt = random_model(), [1, 5, 9, 13, 4, 7, 7, 30, 31, 2, 18, 44][:length]
    found = sample(model_logits(model, context=4, bos=1), prompt, Sampling(tokens=10, temperature=0.0), stop=1)
    ids = list(prompt)
    for token in found:
        hidden_TD = with_one_mask(model, torch.tensor([ids]), 4, monkeypatch)[0]
        assert token == int(model.logits(hidden_TD[-1]).argmax())
        ids.append(token)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_overflows_is_told(temperature: float) -> None:
    """Weights that are finite by themselves may overflow in the forward pass: no text is made of that."""
    model = random_model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".mlp." in name:
                parameter.fill_(1e30)
    sampling = Sampling(tokens=2, temperature=temperature)
    with pytest.raises(NumericsError, match="no finite numbers"):
        sample(model_logits(model, context=99, bos=1), [1, 5], sampling, stop=-1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": -3}, "-3 tokens cannot be generated"),
        ({"tokens": 1_000_001}, "1,000,001 tokens cannot be generated; give 0 to 1,000,000"),
        ({"temperature": -1.0}, "the temperature is -1; it must be a finite number"),
        ({"temperature": math.nan}, "the temperature is nan"),
        ({"seed": 1 << 62}, "the seed is 4611686018427387904; it must lie between 0 and"),
    ],
)
def test_refused_numbers(settings: dict[str, Any], message: str) -> None:
    """Numbers that no text can be drawn with."""
    with pytest.raises(ConfigError, match=message):
        Sampling(**settings)
