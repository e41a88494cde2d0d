"""Subjects of audits that take no time: an honest model that counts, on a text of words."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bytecap.auditing.findings import AuditReport
from bytecap.auditing.job import audit_subject
from bytecap.auditing.rules import RuleSet, load_rules
from bytecap.auditing.subject import (
    ByteCounter,
    Clocks,
    CountedFiles,
    MemoryStream,
    Origin,
    ScoredModel,
    ScoredText,
    Subject,
    TrainingText,
    in_chunks,
)
from bytecap.core.progress import Silent
from bytecap.scoring.ledger import Scored
from bytecap.text.byte_counts import build_table
from bytecap.text.tokenizer import Tokenizer
from tests.conftest import make_document
from tests.text.tokenizers import make_tokenizer

HELD_OUT = [make_document(seed, words=400) for seed in range(8)]
TRAINING = [make_document(seed, words=400) for seed in range(100, 120)]
TOKENIZER: Tokenizer = make_tokenizer("".join(TRAINING), vocab_size=290)


class Counting:
    """Honest: the probability of a token is how often it came in the document, plus one; it learns nothing else."""

    def __init__(self, vocab_size: int = TOKENIZER.vocab_size, bos: int = TOKENIZER.bos) -> None:
        self.vocab_size, self.bos = vocab_size, bos
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.counts_V = torch.ones(self.vocab_size, dtype=torch.float64)
        self.learned_V = torch.zeros(self.vocab_size, dtype=torch.float64)

    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """One row after each token; a document begins with all counts at one."""
        begins = [0, *torch.nonzero(tokens_T == self.bos).flatten().tolist(), len(tokens_T)]
        rows = []
        for begin, end in itertools.pairwise(begins):
            if begin < end:
                if tokens_T[begin] == self.bos:
                    self.counts_V = torch.ones(self.vocab_size, dtype=torch.float64)
                seen_TV = torch.nn.functional.one_hot(tokens_T[begin:end], self.vocab_size).cumsum(dim=0)
                counts_TV = self.counts_V + seen_TV
                self.counts_V = counts_TV[-1]
                rows.append(counts_TV / counts_TV.sum(dim=1, keepdim=True) + self.learned_V)
        mixed_TV = torch.cat(rows)
        return (mixed_TV / mixed_TV.sum(dim=1, keepdim=True)).log()

    def learn(self, scored: Scored) -> None:
        """Nothing."""


class Learning(Counting):
    """Honest, and learns over documents: each target that was scored counts a little until the stream ends."""

    def learn(self, scored: Scored) -> None:
        """Count the targets."""
        self.learned_V = self.learned_V + 0.01 * torch.bincount(scored.targets_BT.flatten(), minlength=self.vocab_size)


def make_subject(folder: Path, model: type = Counting) -> Subject:
    """All parts are there, and nothing is broken; `folder` gets a file of 1,000 bytes."""
    (folder / "model.bin").write_bytes(bytes(1000))
    ids = [[TOKENIZER.bos, *TOKENIZER.encode(text)] for text in HELD_OUT]
    stream = MemoryStream(np.concatenate([np.array(part) for part in ids]))
    return Subject(
        name="a model that counts",
        model=ScoredModel(make=model, vocab_size=TOKENIZER.vocab_size, bos=TOKENIZER.bos, plan=in_chunks),
        text=ScoredText(stream=stream, bos=TOKENIZER.bos, raw=HELD_OUT, claimed_tokens=len(stream) - 1),
        tokenizer=ByteCounter(tokenizer=TOKENIZER, table=build_table(TOKENIZER)),
        training=TrainingText(documents=lambda: iter(TRAINING)),
        files=CountedFiles(paths=(folder / "model.bin",), cap_bytes=1000),
        clocks=Clocks(training=9.5, training_limit=10.0, evaluation=1.0, outside={"fit": 2.0}),
        origin=Origin(recipe_digest="0123456789abcdef", seed=3),
    )


def only(*ids: str, rules: str = "standard") -> RuleSet:
    """Some rules of a set; all where none is named."""
    whole = load_rules(rules)
    return dataclasses.replace(whole, rules=tuple(rule for rule in whole.rules if not ids or rule.id in ids))


def ask(subject: Subject, *ids: str, seed: int = 0) -> AuditReport:
    """The report on some rules."""
    return audit_subject(subject, only(*ids), seed=seed, progress=Silent())
