"""Hugging Face models under audit: asked as they are scored, cheats found, what does not apply said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from bytecap.auditing.drive import drive
from bytecap.auditing.hugging_face import GivenTexts, hugging_face_subject, make_scored_model
from bytecap.auditing.subject import MemoryStream, Subject
from bytecap.core.progress import Silent
from bytecap.huggingface.model import CausalModel
from bytecap.huggingface.scored import Opening, open_model
from bytecap.huggingface.scoring import score_tokens
from bytecap.huggingface.texts import NO_BOS, TokenArray, TokenizedText, tokenize_documents
from bytecap.text.config import TextConfig
from tests.auditing.subjects import ask
from tests.conftest import make_document
from tests.huggingface.models import make_folder, word_piece

DOCUMENTS = [make_document(seed, 40) for seed in range(4)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> GivenTexts:
    """A few documents, and others that were trained on."""
    folder = tmp_path_factory.mktemp("text")
    for name, documents in (("held", DOCUMENTS), ("training", [make_document(seed, 40) for seed in (9, 10, 2)])):
        (folder / name).mkdir()
        for number, document in enumerate(documents):
            (folder / name / f"{number}.txt").write_text(document)
    return GivenTexts(TextConfig(paths=(str(folder / "held"),)), TextConfig(paths=(str(folder / "training"),)))


def open_subject(folder: Path, texts: GivenTexts) -> Subject:
    return hugging_face_subject(Opening(origin=folder), folder, texts, Silent())


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("model") / "llama")


def test_it_is_what_is_scored(llama: Path) -> None:
    """Summed over documents shorter and longer than the context."""
    opened = open_model(Opening(origin=llama), Silent())
    text = tokenize_documents([*DOCUMENTS, "a"], opened.tokenizer)
    tokens_N = text.tokens.read(0, 6 * 64 + 1)  # whole windows
    for bos in (text.bos, NO_BOS):
        for context in (64, 128):
            opened = dataclasses.replace(opened, context=context)
            given = TokenizedText(TokenArray(tokens_N), TokenArray(np.ones_like(tokens_N)), "", 0, bos)
            score = score_tokens(opened.model, given, context=context, stride=64, progress=Silent()).score
            asked = make_scored_model(lambda: open_model(Opening(origin=llama), Silent()).model, opened, bos)
            rows = drive(asked, asked.make(), tokens_N)
            assert len(rows) == score.tokens == 6 * 64
            assert rows.loss_N.sum() == pytest.approx(score.nats, abs=1e-3)
            assert asked.across_documents == (bos == NO_BOS)


def test_rules_on_an_honest_folder(llama: Path, texts: GivenTexts) -> None:
    """What can be asked of an honest folder is kept; a document of the training text is found; the rest says why."""
    report = ask(open_subject(llama, texts), "A1", "A2", "C1b", "C4", "D1a", "B1", "B2", "A3", "S2", "G1")
    found = {finding.rule: finding.answer for finding in report.findings}
    assert [found[rule].verdict for rule in ("A2", "C1b", "C4", "B1", "G1")] == 5 * ["kept"]
    assert found["A1"].verdict == "recorded" and found["A1"].figure == sum(f.stat().st_size for f in llama.iterdir())
    assert found["D1a"].verdict == "broken" and "document 3" in found["D1a"].places[0]
    for rule in ("B2", "A3", "S2"):
        assert found[rule].verdict == "not asked" and found[rule].evidence.startswith("does not apply: ")


class Peeking(nn.Module):
    """Adds the last token to what is said of the first."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Tensor, **words: Any) -> Any:
        """Logits with a little of what comes."""
        found = self.inner(input_ids=input_ids, **words)
        found.logits = found.logits + 1e-3 * input_ids[:, -1:, None]
        found.logits[..., 0] -= 1e-3 * input_ids[:, -1:]
        return found


def test_cheats_are_found(llama: Path, texts: GivenTexts) -> None:
    """A model that looks ahead, and bytes that are not those of a document."""
    opened, subject = open_model(Opening(origin=llama), Silent()), open_subject(llama, texts)
    peeking = CausalModel(Peeking(opened.model.module), opened.model.facts, {})
    cheat = dataclasses.replace(subject, model=make_scored_model(lambda: peeking, opened, opened.tokenizer.bos or 0))
    assert [finding.rule for finding in ask(cheat, "C1a", "C1b", "C2a").broken] == ["C1a", "C1b"]
    assert subject.text is not None and subject.text.token_bytes is not None
    counts_N = subject.text.token_bytes.read(0, len(subject.text.token_bytes)).copy()
    counts_N[-1] += 1
    text = dataclasses.replace(subject.text, token_bytes=MemoryStream(counts_N))
    (found,) = ask(dataclasses.replace(subject, text=text), "B1").broken
    assert found.answer.places[0].startswith("document 4: ")


def test_experts_and_lost_text(tmp_path: Path, texts: GivenTexts) -> None:
    """Bits of a mixture of experts follow the shapes of its products; lost text has no bits per byte."""
    folder = make_folder(tmp_path / "mixtral", "mixtral")
    word_piece().save_pretrained(folder)
    report = ask(open_subject(folder, GivenTexts(texts.held_out)), "C1b", "B1")
    found = {finding.rule: finding.answer for finding in report.findings}
    assert found["C1b"].verdict == "kept" and "numbers within 0.0001 count as equal" in found["C1b"].evidence
    assert found["B1"].verdict == "recorded" and "no bits per byte are given" in found["B1"].evidence
