"""What was said of a token is the same where the text ends behind it, as it does when it is asked token by token.

Rule: C1. Every position of the excerpts is asked: the model reads them once in the chunks of scoring, and once token by
token, when nothing that comes later has been shown to it. Shapes differ between the two, and with them the order in
which numbers are added, so losses may differ by `nats`. Where they differ by more, all text behind the position is
replaced at equal length, several times: what is only the order of additions does not change in any bit, what looks
ahead does. A model that forgets is asked within its context, where both ways show it the same. Then texts are cut at
random places, with all learning before them.

Source: openai/parameter-golf, Issue #1017.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bytecap.auditing.drive import Rows, joined
from bytecap.auditing.excerpts import Excerpt, excerpts, run_stream
from bytecap.auditing.findings import MAX_PLACES, Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept
from bytecap.auditing.subject import Ids, Question
from bytecap.auditing.texts import draw_excerpt, other_tokens
from bytecap.core.settings import bounds

MIN_CONTEXT = 16
"""A model that is sure to see fewer tokens is run again for each position, within one chunk."""
REPLACED = (True, True, True, False)
"""Other texts behind a suspect; whether documents keep their ends in it."""


@dataclass(frozen=True, kw_only=True)
class TruncationConfig(ProbeConfig):
    """How much is asked."""

    positions: int = field(default=768, metadata=bounds(1))
    """Positions that are asked alone, at least."""
    length: int = field(default=256, metadata=bounds(16))
    """Tokens of a text that is read token by token; at most those of the model's context."""
    cuts: int = field(default=12, metadata=bounds(0))
    """Places at which a text is cut, with all learning before them."""
    nats: float = field(default=1e-5, metadata=bounds(0))
    """By how much losses, and probabilities, may differ without a further question."""
    most_nats: float = field(default=0.05, metadata=bounds(0))
    """By how much at most the order of additions may change them."""
    moved_ends: float = field(default=1e-3, metadata=bounds(0))
    """By how much probabilities may differ where documents end elsewhere behind the position."""
    suspects: int = field(default=16, metadata=bounds(1))
    """Positions of each comparison, those with the largest differences, behind which the text is replaced."""


@dataclass(frozen=True)
class _Suspect:
    """A position at which two ways of asking gave different numbers."""

    at: int
    change: float
    how: str


@dataclass
class _Found:
    """What came out so far."""

    alone: int = 0
    cuts: int = 0
    again: int = 0
    largest: float = 0.0
    places: list[str] = field(default_factory=list)

    def changes(self, one: Rows, other: Rows, end: int) -> npt.NDArray[np.float64]:
        """The larger of the changes of loss and of watched probabilities, for each of the first targets."""
        loss_N, watched_NK = one.loss_N[:end] - other.loss_N[:end], one.watched_NK[:end] - other.watched_NK[:end]
        change_N: npt.NDArray[np.float64] = np.maximum(abs(loss_N), abs(watched_NK).max(axis=1))
        self.largest = max(self.largest, float(change_N.max()))
        return change_N


class Truncation(Probe):
    """Shows the model less than scoring does."""

    config_class = TruncationConfig
    needs = ("model",)

    def __init__(self, config: TruncationConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """The figure is the largest difference."""
        found = _Found()
        self._ask_alone(question, found)
        if len(found.places) < MAX_PLACES:
            self._ask_cut(question, found)
        evidence = (
            f"{found.alone:,} positions were asked with nothing behind them, {found.cuts} texts were cut: losses and "
            f"probabilities differ by at most {found.largest:.2g}; {found.again} positions were looked at again, with "
            "other text behind them"
        )
        return (broken if found.places else kept)(evidence, found.largest, "nats", found.places)

    def _ask_alone(self, question: Question, found: _Found) -> None:
        """Every target of a text, with nothing shown behind it; nothing is learned."""
        config, context = self.config, question.model.context or self.config.length
        enough = context >= MIN_CONTEXT
        length = min(config.length, context) if enough else MIN_CONTEXT
        while found.alone < config.positions:
            tokens_N = draw_excerpt(question, length + 1)
            alone = _asked_alone(question, tokens_N, at_once=enough)
            whole = run_stream(question, tokens_N, learn=False).first(len(alone))
            found.alone += len(whole)
            change_N = found.changes(whole, alone, len(whole))
            self._look_again(question, Excerpt(tokens_N, whole), self._suspects(change_N, "asked alone"), found)

    def _ask_cut(self, question: Question, found: _Found) -> None:
        """All targets before a cut, with all learning before them."""
        within = max(MIN_CONTEXT, question.model.context or 1 << 30)
        for number in range(self.config.cuts):
            excerpt = excerpts(question)[number % len(excerpts(question))]
            cut = int(question.rng.integers(1, min(excerpt.tokens_N.size - 1, within)))
            change_N = found.changes(excerpt.rows, run_stream(question, excerpt.tokens_N[: cut + 1]), cut)
            suspects = self._suspects(change_N, f"the text cut behind token {cut:,}")
            self._look_again(question, excerpt, suspects, found, learn=True)
            found.cuts += 1

    def _suspects(self, change_N: npt.NDArray[np.float64], how: str) -> list[_Suspect]:
        """The positions with the largest differences above the limit; a number that is none is the largest."""
        order = np.argsort(-np.nan_to_num(change_N, nan=np.inf), kind="stable")[: self.config.suspects].tolist()
        return [_Suspect(at, float(change_N[at]), how) for at in order if not change_N[at] <= self.config.nats]

    def _look_again(
        self, question: Question, excerpt: Excerpt, suspects: list[_Suspect], found: _Found, *, learn: bool = False
    ) -> None:
        """Add those of the suspects that another text behind them changes, or that no order of additions explains."""
        found.again += len(suspects)
        for suspect in suspects:
            if len(found.places) > MAX_PLACES:
                return
            moves = any(self._moves(question, excerpt, suspect.at, keep_ends, learn) for keep_ends in REPLACED)
            if moves or not suspect.change <= self.config.most_nats:
                found.places.append(f"token {suspect.at + 1:,} differs by {suspect.change:.3g}, {suspect.how}")

    def _moves(self, question: Question, excerpt: Excerpt, at: int, keep_ends: bool, learn: bool) -> bool:
        """Return whether another text behind a position changes what is said of it."""
        changed_N = excerpt.tokens_N.copy()
        changed_N[at + 1 :] = other_tokens(question, changed_N[at + 1 :], keep_ends=keep_ends)
        other = run_stream(question, changed_N, until=at, learn=learn)
        if keep_ends:
            return excerpt.rows.digest_N[at] != other.digest_N[at]
        # Shapes may differ too, so bits say nothing, and the target is another one.
        change_K = excerpt.rows.watched_NK[at] - other.watched_NK[at]
        return bool(abs(change_K).max() > self.config.moved_ends)


def _asked_alone(question: Question, tokens_N: Ids, *, at_once: bool) -> Rows:
    """What is said of each target with nothing shown behind it: token by token in one reading, or one reading each.

    With one reading for each target, only targets of the first chunk are asked.
    """
    if at_once:
        return run_stream(question, tokens_N, learn=False, piece=1)
    first = len(run_stream(question, tokens_N, until=0))
    return joined([run_stream(question, tokens_N[: at + 2]).last() for at in range(first)])
