"""llama.cpp's way of cutting texts, written out, gives SentencePiece's tokens; where it cannot, nothing is claimed."""

import random

import sentencepiece

from bytecap.export.gguf_vocabulary import BYTE, CONTROL, UNKNOWN, sentencepiece_vocabulary
from bytecap.text.tokenizer import Tokenizer
from tests.conftest import make_document
from tests.export.examples import tokenizer


def test_equals_sentencepiece() -> None:
    """On texts of words, spaces, digits and letters that have no piece."""
    known = Tokenizer.from_bytes(tokenizer(320))
    vocabulary = sentencepiece_vocabulary(known)
    assert vocabulary is not None
    rng = random.Random(0)
    for seed in range(10):
        text = "".join(rng.choice("ab the model\n\t 12 éß漢 <s>") for _ in range(40)) + make_document(seed, 20)
        assert vocabulary.encode(text) == known.encode(text)
    assert [vocabulary.kinds[token] for token in (1, 3, 4)] == [CONTROL, UNKNOWN, BYTE]


def test_other_tokenizers_are_left_out(tmp_path: object) -> None:
    """Without case, with another normalizer, and of another kind."""
    assert sentencepiece_vocabulary(Tokenizer.from_bytes(tokenizer(320, "case"))) is None
    import io

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([make_document(seed) for seed in range(9)]), model_writer=out, vocab_size=60,
        model_type="unigram", hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    assert sentencepiece_vocabulary(Tokenizer.from_bytes(out.getvalue())) is None
