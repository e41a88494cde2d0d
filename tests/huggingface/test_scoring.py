"""The score of a text, against one target at a time with the window that docs/scoring.md gives it."""

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.core.progress import Silent
from bytecap.huggingface.folder import open_folder
from bytecap.huggingface.model import CausalModel, load_folder
from bytecap.huggingface.scoring import score_tokens
from bytecap.huggingface.texts import TokenizedText, tokenize_documents
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.scoring.windows import windows
from tests.huggingface.models import STRANGE, TEXT, byte_level_bpe, make_folder, word_piece


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    """A Llama with random weights."""
    return load_folder(open_folder(make_folder(tmp_path_factory.mktemp("model") / "llama")), Silent())


@pytest.fixture(scope="module")
def text() -> TokenizedText:
    """Documents of many lengths."""
    return tokenize_documents([TEXT[0][:300], "ab", *STRANGE, TEXT[1][:150], TEXT[2][:40]], byte_level())


def byte_level() -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(byte_level_bpe())


def slow_nats(model: CausalModel, text: TokenizedText, context: int, stride: int) -> float:
    """Each target by itself: what its window holds of its document, up to the token before it."""
    ids, total = text.tokens.read(0, len(text.tokens)).tolist(), 0.0
    for window in windows(len(ids) - 1, context=context, stride=stride):
        for place in range(window.start + window.skip, window.start + window.length):
            begin = max([window.start, *(i for i in range(place + 1) if ids[i] == text.bos)])
            logits = model.logits(torch.tensor([ids[begin : place + 1]]))[0, -1]
            total -= float(logits.detach().double().log_softmax(dim=-1)[ids[place + 1]])
    return total


@pytest.mark.parametrize(("context", "stride"), [(32, 32), (32, 8), (16, 1), (64, 64)])
def test_one_target_at_a_time(
    model: CausalModel, text: TokenizedText, context: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every target once, each with its window; bytes are those of the text."""
    found = score_tokens(model, text, context=context, stride=stride, progress=Silent())
    assert found.score.nats == pytest.approx(slow_nats(model, text, context, stride), rel=1e-5)
    assert found.score.tokens == len(text.tokens) - 1 and found.score.text_bytes == text.raw_bytes
    value = found.to_json()
    assert value["bits_per_byte"] == pytest.approx(found.score.nats / 0.6931471805599453 / text.raw_bytes)
    documents = found.score.documents
    assert documents is not None and documents.nats_D.sum() == pytest.approx(found.score.nats)
    monkeypatch.setattr("bytecap.huggingface.scoring.BATCH_LOGITS", 290 * 7)
    parts = score_tokens(model, text, context=context, stride=stride, progress=Silent()).score
    assert parts.nats == pytest.approx(found.score.nats, rel=1e-6) and parts.tokens == found.score.tokens
    with pytest.raises(ConfigError, match="the stride is 65"):
        score_tokens(model, text, context=64, stride=65, progress=Silent())


def test_lost_text(model: CausalModel) -> None:
    """Nats per token and no bits per byte, with the place where the text is lost."""
    lost = tokenize_documents(TEXT[:2], HuggingFaceTokenizer(word_piece()))
    assert lost.bytes is None and "document 1 does not come back" in lost.lost and "becomes" in lost.lost
    value = score_tokens(model, lost, context=32, stride=32, progress=Silent()).to_json()
    assert value["bits_per_byte"] is None and value["nats_per_token"] > 0 and value["refused"] == lost.lost
