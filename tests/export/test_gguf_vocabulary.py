"""llama.cpp's way of cutting texts, written out, gives SentencePiece's tokens; where it cannot, nothing is claimed."""

import io
import json
import random
from pathlib import Path

import sentencepiece

from bytecap.export.gguf_vocabulary import (
    BYTE,
    CONTROL,
    CUTS,
    UNKNOWN,
    UNUSED,
    _byte_level_cut,
    json_vocabulary,
    sentencepiece_vocabulary,
)
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.text.tokenizer import Tokenizer
from tests.conftest import make_document
from tests.export.examples import tokenizer
from tests.huggingface.models import byte_level_bpe, llama_like, word_piece


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


def test_other_tokenizers_are_left_out() -> None:
    """Without case, with another normalizer, and of another kind."""
    assert sentencepiece_vocabulary(Tokenizer.from_bytes(tokenizer(320, "case"))) is None
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([make_document(seed) for seed in range(9)]), model_writer=out, vocab_size=60,
        model_type="unigram", hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    assert sentencepiece_vocabulary(Tokenizer.from_bytes(out.getvalue())) is None


def test_hugging_face_tokenizers(tmp_path: Path) -> None:
    """Scores follow from merges where spaces are U+2581; words cut in another way, and other models, are left out."""
    for made in (llama_like(), byte_level_bpe(), word_piece()):
        made.save_pretrained(tmp_path)
        table = json.loads((tmp_path / "tokenizer.json").read_text())
        found = json_vocabulary(table, HuggingFaceTokenizer(made), 400)
        if table["model"]["type"] != "BPE":
            assert found is None
        elif found is not None and found.merges:
            assert found.cut == "gpt-2" and found.model == "gpt2" and found.kinds[399] == UNUSED
            table["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, table["pre_tokenizer"]]}
            assert _byte_level_cut(table) is None
            for pattern, name in CUTS.items():
                steps = [{"type": "Split", "pattern": {"Regex": pattern}}, {"type": "ByteLevel", "use_regex": False}]
                assert _byte_level_cut({"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}) == name
        else:
            assert found is not None and found.space_first and found.encode(" a 12") == made.encode(" a 12")
