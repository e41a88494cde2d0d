"""A file continues a prompt."""

import pytest
import torch

from bytecap.artifact.generate import generate
from bytecap.artifact.load import loads
from bytecap.core.errors import ConfigError
from bytecap.model.sampling import Sampling
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
    assert generate(artifact, "the cap", Sampling(tokens=5, temperature=0)) == tokenizer.decode(ids[1:])
    assert generate(artifact, "the cap", Sampling(tokens=0)) == tokenizer.decode(ids[1:begin]) == "the cap"


def test_seeds_repeat_and_the_tokenizer_may_come_from_elsewhere() -> None:
    """Equal seeds write equal text, also where the file has no tokenizer and one is handed in."""
    with_own, without = loads(example_file()), loads(example_file(embed=False))
    other = Tokenizer.from_bytes(example_tokenizer())
    sampling = Sampling(tokens=20, temperature=1.0, seed=7)
    first = generate(with_own, "the", sampling)
    assert first == generate(without, "the", sampling, tokenizer=other)


def test_a_prompt_without_a_utf_8_form_is_refused() -> None:
    """Surrogates that stand alone, as a terminal of another encoding gives them."""
    with pytest.raises(ConfigError, match="the prompt is not UTF-8"):
        generate(loads(example_file()), "\ud800")
