"""Excerpts are read as often as the probes need, and no oftener."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytecap.auditing import texts
from bytecap.auditing.excerpts import excerpts, read_again, run_stream
from bytecap.auditing.subject import Question, TrainingText
from bytecap.auditing.texts import training_documents
from tests.auditing.subjects import TRAINING, Counting, ask, make_subject


class Noting(Counting):
    """Notes the threads of PyTorch at each call, and forgets nothing of what it was asked."""

    threads: list[int]
    resets: int

    def __init__(self) -> None:
        self.threads, self.resets = [], 0
        super().__init__()

    def reset(self) -> None:
        """One more stream."""
        self.resets += 1
        super().reset()

    def log_probs(self, tokens_T: torch.Tensor) -> torch.Tensor:
        """As an honest one."""
        self.threads.append(torch.get_num_threads())
        return super().log_probs(tokens_T)


def question(folder: Path, made: Noting, **changes: Any) -> Question:
    """About one model, always the same object."""
    subject = make_subject(folder)
    assert subject.model is not None
    model = dataclasses.replace(subject.model, make=lambda: made, **changes)
    return Question(subject=dataclasses.replace(subject, model=model), rng=np.random.default_rng(0))


def test_excerpts_are_read_again_once(tmp_path: Path) -> None:
    """After random tokens and a reset, the same to the bit; the sums are those of the distributions."""
    made = Noting()
    asked = question(tmp_path, made)
    again, before = read_again(asked), made.resets
    assert read_again(asked) is again and excerpts(asked) is excerpts(asked) and made.resets == before
    for excerpt, rows in zip(excerpts(asked), again, strict=True):
        assert rows.digest_N == excerpt.rows.digest_N and rows.sum_N is None
        assert excerpt.rows.sum_N == pytest.approx(np.ones(len(rows)), abs=1e-9)
        assert excerpt.rows.first(7).sum_N == pytest.approx(np.ones(7), abs=1e-9)


def test_what_is_left_of_other_text_is_seen_by_both_rules(tmp_path: Path) -> None:
    """A model whose reset forgets only half of the times: warming up and replay read the same run, and both tell."""

    class Sticky(Counting):
        def reset(self) -> None:
            self.times = getattr(self, "times", -1) + 1
            kept_V = getattr(self, "learned_V", None)
            super().reset()
            if kept_V is not None and self.times % 2:
                self.learned_V = kept_V + 1e-3 * torch.rand(self.vocab_size, dtype=torch.float64)

    report = ask(make_subject(tmp_path, Sticky), "A5", "C3")
    assert [finding.answer.verdict for finding in report.findings] == ["broken", "broken"]
    assert any("after other text and a reset" in place for place in report.findings[1].answer.places)


@pytest.mark.parametrize("threads", [None, 1])
def test_a_small_model_is_asked_with_few_threads(tmp_path: Path, threads: int | None) -> None:
    """Inside alone; outside there are as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made = Noting()
        asked = question(tmp_path, made, threads=threads)
        run_stream(asked, excerpts(asked)[0].tokens_N)
        assert set(made.threads) == {threads or 2} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("room", "times"), [(1 << 20, 1), (1000, 2)])
def test_a_short_training_text_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, times: int
) -> None:
    """For both probes of overlap; a long one each time."""
    monkeypatch.setattr(texts, "KEPT_CHARACTERS", room)
    calls = list[int]()

    def documents() -> Iterator[str]:
        calls.append(1)
        return iter(TRAINING)

    subject = dataclasses.replace(make_subject(tmp_path), training=TrainingText(documents=documents))
    report = ask(subject, "D1a", "D1b")
    assert not report.broken and len(calls) == times
    asked = Question(subject=subject, rng=np.random.default_rng(0))
    assert list(training_documents(asked)) == list(training_documents(asked)) == TRAINING
