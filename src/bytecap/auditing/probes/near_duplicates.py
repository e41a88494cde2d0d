"""Held-out documents that stand in the training text with few changes: MinHash proposes pairs, which are then measured.

Rule: D1. A text that was copied and lightly edited has a similarity above `copy`, or few words changed, and is an
offence. Texts of one template (character tables, licences, forms) are alike without anybody's doing; from `alike` on
they are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bytecap.auditing.findings import Answer
from bytecap.auditing.overlap import SHINGLE_WORDS, Pair, near_duplicates
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept, not_asked, recorded
from bytecap.auditing.subject import MISSING, Question
from bytecap.auditing.texts import held_out_documents, training_documents
from bytecap.core.settings import bounds
from bytecap.core.units import counted


@dataclass(frozen=True, kw_only=True)
class NearDuplicatesConfig(ProbeConfig):
    """From which similarity on a pair is reported, and from which it breaks the rule."""

    alike: float = field(default=0.5, metadata=bounds(0.3, 1.0))
    """Similarity from which a pair is recorded."""
    copy: float = field(default=0.9, metadata=bounds(0.3, 1.0))
    """Similarity from which a pair is a copy: about one word in a hundred changed."""
    words: float = field(default=2.0, metadata=bounds(0))
    """Words that may differ in a copy of whatever length, if it is no shorter than `shingles`."""
    shingles: int = field(default=40, metadata=bounds(1))
    """Shingles of the shortest document of which that is said; shorter ones may be alike by chance."""


class NearDuplicates(Probe):
    """Finds the training document most like each held-out one."""

    config_class = NearDuplicatesConfig
    needs = ("text", "training")

    def __init__(self, config: NearDuplicatesConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Pairs above `copy` break the rule, others are named."""
        held_out = held_out_documents(question)
        if held_out is None:
            return not_asked(MISSING["tokenizer"])
        pairs = near_duplicates(held_out, training_documents(question), at_least=self.config.alike)
        pairs.sort(key=lambda pair: -pair.similarity)
        copies = list(filter(self._is_copy, pairs))
        share = sum(len(held_out[pair.held_out]) for pair in pairs) / max(1, sum(map(len, held_out)))
        evidence = (
            f"{counted(len(held_out), 'held-out document was', 'held-out documents were')} compared with the training "
            f"documents{question.training.note} by runs of {SHINGLE_WORDS} words; "
            f"{counted(len(pairs), 'has', 'have')} one at least {self.config.alike:g} alike "
            f"({100 * share:.1f} % of the text), {len(copies):,} with hardly a word changed"
        )
        places = [
            f"document {pair.held_out + 1:,} is {pair.similarity:.3f} like training document {pair.training + 1:,}: "
            f"{pair.beginning!r}"
            for pair in pairs
        ]
        if copies:
            return broken(evidence, len(copies), "copies", places)
        return recorded(evidence, len(pairs), "alike", places) if pairs else kept(evidence, 0, "alike")

    def _is_copy(self, pair: Pair) -> bool:
        few = pair.changed_words <= self.config.words and pair.shingles >= self.config.shingles
        return few or pair.similarity >= self.config.copy
