"""A file continues a prompt."""

import pytest
import torch

from bytecap.artifact.generate import continued, generate
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


@pytest.mark.parametrize("prompt", ["\u2581a\u2581", "a\x00b", "\U0001f600 \u00e9", "\r\n\ta  ", "the cap " * 300])
def test_the_text_begins_with_any_prompt(prompt: str) -> None:
    """Also with what the tokenizer cannot give back; the model then reads what the tokenizer makes of it."""
    artifact = loads(example_file())
    sampling = Sampling(tokens=8, temperature=1.0, seed=3)
    text = generate(artifact, prompt, sampling)
    as_read = generate(artifact, prompt.replace("\u2581", " "), sampling)
    assert text.startswith(prompt) and text[len(prompt) :] == as_read[len(prompt) :]
    assert generate(artifact, prompt, Sampling(tokens=0)) == prompt


def test_what_decoding_changes_at_the_seam() -> None:
    """Where a later token changes how the prompt is decoded, what differs is given behind the whole prompt."""
    said = {(1,): "don '", (1, 2): "don't", (1, 3): "don ' x"}
    assert continued("Don '", [1], [3], lambda ids: said[tuple(ids)]) == "Don ' x"
    assert continued("Don '", [1], [2], lambda ids: said[tuple(ids)]) == "Don ''t"
