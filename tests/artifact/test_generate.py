"""A file continues a prompt."""

import math
from typing import Any

import pytest
import torch

from bytecap.artifact.generate import generate
from bytecap.artifact.load import loads
from bytecap.core.errors import ConfigError
from bytecap.text.tokenizer import Tokenizer
from tests.artifact.example import example_file, example_tokenizer


def test_the_likeliest_token_at_temperature_zero() -> None:
    """The prompt, then what the model finds likeliest, token after token, up to BOS."""
    artifact, tokenizer = loads(example_file()), Tokenizer.from_bytes(example_tokenizer())
    ids = [tokenizer.bos, *tokenizer.encode("the cap")]
    begin = len(ids)
    for _ in range(5):
        model = artifact.model()
        choice = int(model.logits(model.hidden(torch.tensor([ids]), tokenizer.bos))[0, -1].argmax())
        if choice == tokenizer.bos:
            break
        ids.append(choice)
    assert generate(artifact, "the cap", tokens=5, temperature=0) == tokenizer.decode(ids[1:])
    assert generate(artifact, "the cap", tokens=0) == tokenizer.decode(ids[1:begin]) == "the cap"


def test_seeds_repeat_and_the_tokenizer_may_come_from_elsewhere() -> None:
    """Equal seeds write equal text, also where the file has no tokenizer and one is handed in."""
    with_own, without = loads(example_file()), loads(example_file(embed=False))
    other = Tokenizer.from_bytes(example_tokenizer())
    first = generate(with_own, "the", tokens=20, temperature=1.0, seed=7)
    assert first == generate(without, "the", tokens=20, temperature=1.0, seed=7, tokenizer=other)


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
    """Numbers that cannot be, and a prompt without a UTF-8 form."""
    artifact = loads(example_file())
    with pytest.raises(ConfigError, match=message):
        generate(artifact, "the", **settings)
    with pytest.raises(ConfigError, match="the prompt is not UTF-8"):
        generate(artifact, "\ud800")
