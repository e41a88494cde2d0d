"""An honest score breaks no rule; what is not available is not asked; each rule can be broken by itself."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bytecap.auditing.drive import drive
from bytecap.auditing.findings import KEPT, NOT_ASKED, RECORDED, Answer
from bytecap.auditing.probes.recomputed import Recomputed, RecomputedConfig
from bytecap.auditing.subject import ByteCounter, Clocks, CountedFiles, MemoryStream, Question, Subject
from bytecap.core.errors import ConfigError
from bytecap.scoring.ledger import Scored
from tests.auditing.subjects import Counting, Learning, ask, make_subject


def answer(subject: Subject, rule: str) -> Answer:
    """What one rule gets."""
    (finding,) = ask(subject, rule).findings
    return finding.answer


@pytest.mark.parametrize("model", [Counting, Learning])
def test_an_honest_score_is_not_accused(model: type, tmp_path: Path) -> None:
    """Every rule is asked; what is carried over documents is recorded, and only where it is."""
    report = ask(make_subject(tmp_path, model))
    verdicts = {finding.rule: finding.answer.verdict for finding in report.findings}
    assert not report.broken and [rule for rule, verdict in verdicts.items() if verdict == NOT_ASKED] == ["C2b"]
    assert {rule for rule, verdict in verdicts.items() if verdict == RECORDED} == {"A4", "S2", "G3", "G4"} | (
        {"C5"} if model is Learning else set()
    )


def test_the_same_seed_asks_the_same(tmp_path: Path) -> None:
    """Findings are equal but for their seconds."""
    one, two, other = (ask(make_subject(tmp_path), "C1c", "C2a", seed=seed) for seed in (5, 5, 6))
    assert [f.answer for f in one.findings] == [f.answer for f in two.findings]
    assert one.seed == 5 and other.seed == 6


def test_what_is_missing_is_said() -> None:
    """A subject of nothing is asked nothing."""
    report = ask(Subject(name="nothing"))
    assert {finding.answer.verdict for finding in report.findings} == {NOT_ASKED}
    assert all(finding.answer.evidence for finding in report.findings)
    assert "--training-text" in answer(Subject(name="nothing"), "D1a").evidence


class Changed(Counting):
    """A model that gives whatever a test says."""

    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """Changed behind the honest one."""
        return self.change(super().log_probs(tokens_T))

    def change(self, rows_TV: Tensor) -> Tensor:
        """Nothing."""
        return rows_TV


def test_numbers_that_are_none_break_the_sum(tmp_path: Path) -> None:
    """NaN is no distribution, and ends no audit."""

    class Broken(Changed):
        def change(self, rows_TV: Tensor) -> Tensor:
            rows_TV[-1, 0] = math.nan
            return rows_TV

    found = answer(make_subject(tmp_path, Broken), "C2a")
    assert found.verdict == "broken" and "nan" in found.places[0]


def test_float32_is_no_offence(tmp_path: Path) -> None:
    """Log probabilities of 32 bits sum to one as well as they can; float16 is refused by name."""

    class Short(Changed):
        def change(self, rows_TV: Tensor) -> Tensor:
            return rows_TV.float()

    class Shorter(Changed):
        def change(self, rows_TV: Tensor) -> Tensor:
            return rows_TV.half()

    class Wide(Changed):
        def change(self, rows_TV: Tensor) -> Tensor:
            return rows_TV[:, :-1]

    assert answer(make_subject(tmp_path, Short), "C2a").verdict == KEPT
    with pytest.raises(ConfigError, match="float16; it must give float32"):
        ask(make_subject(tmp_path, Shorter), "C2a")
    with pytest.raises(ConfigError, match="one row of 290"):
        ask(make_subject(tmp_path, Wide), "C2a")


def test_dropout_is_not_replayed(tmp_path: Path) -> None:
    """What differs from time to time is no score."""

    class Noisy(Changed):
        def change(self, rows_TV: Tensor) -> Tensor:
            return (rows_TV + 1e-9 * torch.rand(rows_TV.shape)).log_softmax(dim=1)

    assert answer(make_subject(tmp_path, Noisy), "C3").verdict == "broken"


def test_attention_across_documents_is_recorded_where_it_is_published(tmp_path: Path) -> None:
    """An accusation otherwise."""

    class Across(Counting):
        def log_probs(self, tokens_T: Tensor) -> Tensor:
            return super().log_probs(torch.where(tokens_T == self.bos, 5, tokens_T))

    hidden = make_subject(tmp_path, Across)
    assert hidden.model is not None
    published = dataclasses.replace(hidden, model=dataclasses.replace(hidden.model, across_documents=True))
    assert answer(hidden, "S1").verdict == "broken" and answer(published, "S1").verdict == RECORDED


def test_the_order_of_additions_is_no_offence(tmp_path: Path) -> None:
    """Losses that differ by what is explained by shapes alone are looked at again, and found honest."""

    class Shaped(Changed):
        def change(self, rows_TV: Tensor) -> Tensor:
            return (rows_TV * (1 + 1e-4 * (len(rows_TV) == 1))).log_softmax(dim=1)

    found = answer(make_subject(tmp_path, Shaped), "C1c")
    assert found.verdict == KEPT and found.figure is not None and found.figure > 1e-5


def test_time_limits(tmp_path: Path) -> None:
    """Within, over, without a limit, not measured; and calibration where the rules count it."""
    subject = make_subject(tmp_path)

    def with_clocks(**clocks: float | None) -> Subject:
        return dataclasses.replace(subject, clocks=Clocks(**clocks))  # type: ignore[arg-type]

    assert answer(with_clocks(training=10.0, training_limit=10.0), "A3").verdict == KEPT
    assert answer(with_clocks(training=10.1, training_limit=10.0), "A3").verdict == "broken"
    assert answer(with_clocks(training=10.1), "A3").verdict == RECORDED
    assert answer(with_clocks(), "A3").verdict == answer(with_clocks(), "A4").verdict == NOT_ASKED
    assert answer(with_clocks(), "G4").verdict == KEPT


def test_files_and_counts(tmp_path: Path) -> None:
    """A byte over the cap, bytes for code, a tokenizer beside the file, too few tokens, another denominator."""
    subject = make_subject(tmp_path)
    assert subject.files is not None and subject.text is not None and subject.tokenizer is not None
    over = dataclasses.replace(subject, files=dataclasses.replace(subject.files, reserve_bytes=1))
    assert answer(over, "A1").verdict == "broken" and answer(over, "A1").figure == 1001
    assert answer(over, "G3").verdict == KEPT
    uncapped = dataclasses.replace(subject, files=CountedFiles(paths=subject.files.paths))
    assert answer(uncapped, "A1").verdict == RECORDED
    fewer = dataclasses.replace(subject, text=dataclasses.replace(subject.text, claimed_tokens=7))
    assert answer(fewer, "D2").verdict == "broken"
    longer = dataclasses.replace(subject, text=dataclasses.replace(subject.text, claimed_bytes=10**6))
    assert answer(longer, "B1").verdict == "broken"
    table = dataclasses.replace(subject.tokenizer.table, bytes_V=subject.tokenizer.table.bytes_V * 2)
    doubled = dataclasses.replace(subject, tokenizer=ByteCounter(tokenizer=subject.tokenizer.tokenizer, table=table))
    assert "worst tokens" in answer(doubled, "B1").evidence and answer(doubled, "B3").places


def test_a_text_of_one_document(tmp_path: Path) -> None:
    """Boundaries of documents are made where the text has none."""
    subject = make_subject(tmp_path)
    assert subject.text is not None
    part_N = subject.text.stream.read(0, 60)
    short = dataclasses.replace(subject.text, stream=MemoryStream(part_N), raw=None, claimed_tokens=None)
    assert not ask(dataclasses.replace(subject, text=short)).broken
    assert not ask(dataclasses.replace(subject, text=None)).broken
    assert np.count_nonzero(part_N == 1) == 1


def test_learning_is_fed_what_was_scored(tmp_path: Path) -> None:
    """The model gets a Scored of the ledger for each chunk, in order, and only after it was asked."""
    heard: list[object] = []

    class Listens(Counting):
        def log_probs(self, tokens_T: Tensor) -> Tensor:
            heard.append(len(tokens_T))
            return super().log_probs(tokens_T)

        def learn(self, scored: Scored) -> None:
            heard.append(scored)

    ask(make_subject(tmp_path, Listens), "C2a")
    for asked, learned in zip(heard[::2], heard[1::2], strict=True):
        assert isinstance(learned, Scored) and learned.tokens == asked


def test_the_claimed_losses_are_computed_again(tmp_path: Path) -> None:
    """Each document's; one that is claimed lower, or a list of another text, is told."""
    subject = make_subject(tmp_path, Learning)
    assert subject.text is not None and subject.model is not None
    text, bos = subject.text, subject.model.bos
    tokens_N = text.stream.read(0, len(text.stream))
    rows = drive(subject.model, Learning(), tokens_N)
    document_N = (tokens_N == bos).cumsum()[1:] - 1
    nats_D = np.bincount(document_N, weights=rows.loss_N)

    def claiming(nats_D: Any) -> Subject:
        return dataclasses.replace(subject, text=dataclasses.replace(text, claimed_nats_D=nats_D))

    assert answer(claiming(nats_D), "C2b").verdict == KEPT
    assert answer(claiming(nats_D), "C2b").figure < 1e-12  # type: ignore[operator]
    lower_D = nats_D.copy()
    lower_D[1] -= 1.0
    found = answer(claiming(lower_D), "C2b")
    assert found.verdict == "broken" and found.places[0].startswith("document 2:")
    assert answer(claiming(nats_D[1:]), "C2b").verdict == answer(subject, "C2b").verdict == NOT_ASKED
    found = answer(dataclasses.replace(subject, text=dataclasses.replace(text, contradictions=("1 is 2",))), "C2b")
    assert found.verdict == "broken" and found.places == ("1 is 2",)


def test_any_document_may_be_computed_again(tmp_path: Path) -> None:
    """Where nothing is carried over, in chunks that documents do not follow: some seed finds each, all agree."""
    subject = make_subject(tmp_path)
    assert subject.text is not None and subject.model is not None
    tokens_N = subject.text.stream.read(0, len(subject.text.stream))
    document_N = (tokens_N == subject.model.bos).cumsum()[1:] - 1
    nats_D = np.bincount(document_N, weights=drive(subject.model, Counting(), tokens_N).loss_N)
    probe = Recomputed(RecomputedConfig(tokens=4000))

    def told(nats_D: Any) -> list[Answer]:
        assert subject.text is not None and subject.model is not None
        model = dataclasses.replace(subject.model, restarts=True)
        text = dataclasses.replace(subject.text, claimed_nats_D=nats_D)
        claiming = dataclasses.replace(subject, model=model, text=text)
        return [probe.ask(Question(subject=claiming, rng=np.random.default_rng(seed))) for seed in range(8)]

    assert all(found.verdict == KEPT for found in told(nats_D))
    found = [each for each in told(nats_D - np.eye(8)[6]) if each.verdict == "broken"]
    assert found and all(each.places[0].startswith("document 7:") for each in found)
