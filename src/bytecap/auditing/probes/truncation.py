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

from bytecap.auditing.asked import asked_anew, excerpts
from bytecap.auditing.drive import Rows
from bytecap.auditing.findings import MAX_PLACES, Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept
from bytecap.auditing.subject import Ids, Question
from bytecap.auditing.texts import draw_excerpt, other_tokens
from bytecap.core.settings import bounds

REPLACED = 3
"""Other texts behind a suspect."""


@dataclass(frozen=True, kw_only=True)
class TruncationConfig(ProbeConfig):
    """How much is asked."""

    positions: int = field(default=768, metadata=bounds(1))
    """Positions that are asked alone, at least."""
    length: int = field(default=256, metadata=bounds(2))
    """Tokens of a text that is read token by token; at most those of the model's context."""
    cuts: int = field(default=12, metadata=bounds(0))
    """Places at which a text is cut, with all learning before them."""
    nats: float = field(default=1e-5, metadata=bounds(0))
    """By how much losses, and probabilities, may differ without a further question."""
    most_nats: float = field(default=0.05, metadata=bounds(0))
    """By how much at most the order of additions may change them."""
    suspects: int = field(default=16, metadata=bounds(1))
    """Positions of each comparison, those with the largest differences, behind which the text is replaced."""


@dataclass(frozen=True)
class _Suspect:
    """A position at which two ways of asking gave different numbers."""

    at: int
    change: float
    how: str


class Truncation(Probe):
    """Shows the model less than scoring does."""

    config_class = TruncationConfig
    needs = ("model",)

    def __init__(self, config: TruncationConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """The figure is the largest difference."""
        config, places = self.config, list[str]()
        length = min(config.length, question.model.context or config.length)
        largest, asked, looked_at = 0.0, 0, 0
        while asked < config.positions:
            tokens_N = draw_excerpt(question, length + 1)
            whole, single = (asked_anew(question, tokens_N, learn=False, piece=piece) for piece in (0, 1))
            asked += len(whole)
            change_N = _changes(whole, single, len(whole))
            largest = max(largest, float(change_N.max()))
            suspects = self._suspects(change_N, "asked alone")
            looked_at += len(suspects)
            places += self._confirmed(question, tokens_N, whole, suspects, learn=False)
        for number in range(0 if len(places) >= MAX_PLACES else config.cuts):
            excerpt = excerpts(question)[number % len(excerpts(question))]
            cut = int(question.rng.integers(1, min(excerpt.tokens_N.size - 1, question.model.context or 1 << 30)))
            shorter = asked_anew(question, excerpt.tokens_N[: cut + 1])
            change_N = _changes(excerpt.rows, shorter, cut)
            largest = max(largest, float(change_N.max()))
            suspects = self._suspects(change_N, f"the text cut behind token {cut:,}")
            looked_at += len(suspects)
            places += self._confirmed(question, excerpt.tokens_N, excerpt.rows, suspects, learn=True)
        evidence = (
            f"{asked:,} positions were asked with nothing behind them, and {config.cuts} texts were cut: losses and "
            f"probabilities differ by at most {largest:.2g}; {looked_at} positions were looked at again, with other "
            "text behind them"
        )
        return broken(evidence, largest, "nats", places) if places else kept(evidence, largest, "nats")

    def _suspects(self, change_N: npt.NDArray[np.float64], how: str) -> list[_Suspect]:
        """The positions with the largest differences above the limit; a number that is none is the largest."""
        order = np.argsort(-np.nan_to_num(change_N, nan=np.inf), kind="stable")[: self.config.suspects].tolist()
        return [_Suspect(at, float(change_N[at]), how) for at in order if not change_N[at] <= self.config.nats]

    def _confirmed(
        self, question: Question, tokens_N: Ids, rows: Rows, suspects: list[_Suspect], *, learn: bool
    ) -> list[str]:
        """Those of the suspects that another text behind them changes, or that no order of additions explains."""
        found = list[str]()
        for suspect in suspects:
            if len(found) >= MAX_PLACES:
                break
            at, moves = suspect.at, False
            for _ in range(REPLACED):
                changed_N = tokens_N.copy()
                changed_N[at + 1 :] = other_tokens(question, tokens_N[at + 1 :])
                other = asked_anew(question, changed_N, until=at, learn=learn)
                moves = moves or rows.digest_N[at] != other.digest_N[at]
            if moves or not suspect.change <= self.config.most_nats:
                found.append(f"token {at + 1:,} differs by {suspect.change:.3g}, {suspect.how}")
        return found


def _changes(one: Rows, other: Rows, end: int) -> npt.NDArray[np.float64]:
    """The larger of the changes of loss and of watched probabilities, for each of the first targets."""
    loss_N, watched_NK = one.loss_N[:end] - other.loss_N[:end], one.watched_NK[:end] - other.watched_NK[:end]
    changes: npt.NDArray[np.float64] = np.maximum(abs(loss_N), abs(watched_NK).max(axis=1))
    return changes
