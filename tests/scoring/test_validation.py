"""There is no score on bytes that were not checked."""

import json
from pathlib import Path

import numpy as np
import pytest

from bytecap.core.errors import DataError
from bytecap.core.progress import Part, Silent
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.scoring.evaluate import StaticScoring, evaluate
from bytecap.scoring.validation import Validation
from bytecap.text.config import TextConfig
from bytecap.text.prepare import prepare
from bytecap.text.shards import HEADER_BYTES, ShardWriter
from bytecap.text.tokens import Tokens


@pytest.fixture
def tokens(corpus: Path, tmp_path: Path) -> Tokens:
    config = TextConfig(paths=(str(corpus),), vocab_size=300, validation_fraction=0.3, validation_bytes=20_000)
    return prepare(config, tmp_path / "tokens", Silent())


def with_sidecar(tokens: Tokens, counts: list[int]) -> Tokens:
    """The same shards read from outside, with a sidecar beside them."""
    writer = ShardWriter(tokens.folder, "val_bytes", 1 << 20)
    writer.write(counts)
    writer.close()
    config = TextConfig(shards=str(tokens.folder), tokenizer=str(tokens.folder / "tokenizer.model"))
    return prepare(config, tokens.folder.parent / "external", Silent())


def checked(tokens: Tokens, raw: list[str] | None) -> Validation:
    sidecar = tokens.validation_byte_stream()
    return Validation.checked(tokens.validation_stream(), tokens.tokenizer, raw=raw, byte_stream=sidecar)


def test_checked_bytes_are_the_denominator(tokens: Tokens) -> None:
    """The score's bytes are the raw text's, and its progress runs from part to part."""
    validation = checked(tokens, tokens.validation_documents())
    model = GPT(
        ModelSpec(vocab_size=tokens.vocab_size, n_layers=1, d_model=8, n_heads=2, n_kv_heads=1, d_ff=8, techniques={})
    )
    states: list[tuple[float, float]] = []

    class Recorder(Silent):
        def update(self, done: float, total: float, text: str = "") -> None:
            states.append((done, total))

    how = StaticScoring(context=32, stride=32, batch_tokens=4096)
    score = evaluate(model, validation, how, Part(Recorder(), "after", 1, 4))
    assert score.text_bytes == tokens.validation_bytes == validation.check.counted
    assert states[-1] == (2.0, 4) and all(1.0 < done <= 2.0 for done, _ in states)


def test_another_text_gives_no_score(tokens: Tokens) -> None:
    """One letter of the raw text is another than the tokens stand for."""
    first, *others = tokens.validation_documents() or []
    with pytest.raises(DataError, match=r"document 1 does not come back .* no score can be given"):
        checked(tokens, [first.upper(), *others])


def test_a_sidecar_gives_the_counts(tokens: Tokens) -> None:
    """A sidecar gives the counts; one of another length is refused; the tokens are used where they lie."""
    external = with_sidecar(tokens, [2] * tokens.validation_tokens)
    validation = checked(external, None)
    assert validation.check.counted == 2 * (tokens.validation_tokens - 1) and validation.check.decoded is None
    path = tokens.folder / "fineweb_val_bytes_000000.bin"
    short = np.zeros(256, "<i4")
    short[:3] = 20240520, 1, 5
    path.write_bytes(short.tobytes() + path.read_bytes()[HEADER_BYTES : HEADER_BYTES + 10])
    with pytest.raises(DataError, match=r"sidecar is of another length \(5\)"):
        checked(external, None)
    assert json.loads((external.folder / "manifest.json").read_text())["validation_text"] is None
