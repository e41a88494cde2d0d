"""Anybody who has the file computes its score on any text."""

import math
from pathlib import Path

import pytest
import torch

from bytecap.artifact.load import loads
from bytecap.core.errors import ConfigError, DataError
from bytecap.scoring.score_text import TextScoring, score_text
from bytecap.text.config import TextConfig
from bytecap.text.tokenizer import Tokenizer
from tests.artifact.example import example_file, example_tokenizer

TEXTS = ["the cap of a file\n", "a token and é 漢\n"]


@pytest.fixture
def text(tmp_path: Path) -> TextConfig:
    for index, document in enumerate(TEXTS):
        (tmp_path / f"{index}.txt").write_text(document, encoding="utf-8")
    return TextConfig(paths=(str(tmp_path),))


def slow_nats(file: bytes) -> float:
    """Every token after the first, each predicted by a forward pass over what its document has before it."""
    model, tokenizer = loads(file).model(), Tokenizer.from_bytes(example_tokenizer())
    nats = 0.0
    for index, document in enumerate(TEXTS):
        ids = [tokenizer.bos, *tokenizer.encode(document)]
        ends = [*ids[1:], *([tokenizer.bos] if index + 1 < len(TEXTS) else [])]
        for position, target in enumerate(ends):
            logits_V = model.logits(model.hidden(torch.tensor([ids[: position + 1]]), tokenizer.bos))[0, -1]
            nats -= logits_V.log_softmax(dim=-1)[target].item()
    return nats


def test_bits_per_byte_of_the_text(text: TextConfig) -> None:
    """Nats over the bytes of the text, as a slow pass gives them, in windows of the context in the file."""
    artifact = loads(example_file())
    found = score_text(artifact, text)
    text_bytes = sum(len(document.encode()) for document in TEXTS)
    assert found.byte_check.raw == found.byte_check.counted == found.score.text_bytes == text_bytes
    assert found.score.context == found.score.stride == artifact.context == 32
    # A stride of one gives every position all the context there is: no document is longer than the context here.
    whole = score_text(artifact, text, TextScoring(stride=1))
    assert whole.score.nats == pytest.approx(slow_nats(example_file()), rel=1e-5)
    assert whole.score.bits_per_byte == pytest.approx(whole.score.nats / math.log(2) / text_bytes)
    counts = dict.fromkeys(("counted", "decoded", "raw"), text_bytes)
    assert whole.to_json()["byte_check"] == {**counts, "changed_documents": 0}


def test_a_file_without_tokenizer(text: TextConfig) -> None:
    """It is scored with one from elsewhere, and not without."""
    artifact, other = loads(example_file(embed=False)), Tokenizer.from_bytes(example_tokenizer())
    assert score_text(artifact, text, tokenizer=other).score.nats == score_text(loads(example_file()), text).score.nats
    with pytest.raises(DataError, match="no tokenizer in it"):
        score_text(artifact, text)
    with pytest.raises(ConfigError, match="the stride is 33; it must lie between 1 and the context, 32"):
        score_text(artifact, text, TextScoring(stride=33), tokenizer=other)
