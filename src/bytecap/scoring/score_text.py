"""A score on any text: of a file alone, as an outsider computes it, or of any predictor.

In:   an Artifact or a Predictor, a text.
Out:  a TextScore.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytecap.artifact.load import Artifact
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.core.device import choose_device
from bytecap.core.errors import ConfigError
from bytecap.core.progress import Progress, Silent
from bytecap.scoring.adaptations import saved_adaptations
from bytecap.scoring.adaptations.base import AdaptationConfig
from bytecap.scoring.adaptive import AdaptiveScoring, evaluate_adaptive_and_static, evaluate_predictor
from bytecap.scoring.evaluate import Score, ScoreConfig, evaluate
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from bytecap.scoring.predictor import Predictor
from bytecap.scoring.validation import Validation
from bytecap.scoring.windows import check_stride
from bytecap.text.byte_check import ByteCheck
from bytecap.text.config import TextConfig
from bytecap.text.prepare import encode_documents
from bytecap.text.shards import TokenStream
from bytecap.text.survey import open_corpus
from bytecap.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class TextScore:
    """A score and the check of its denominator."""

    score: Score
    byte_check: ByteCheck

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**self.score.to_json(), "byte_check": dataclasses.asdict(self.byte_check)}


@dataclass(frozen=True, kw_only=True)
class TextScoring:
    """What is chosen of a file's score; None stands for what the file says."""

    stride: int | None = None
    """New positions of each window after the first; None: that of ScoreConfig, at most the context."""
    adapt: Mapping[str, AdaptationConfig] | None = None
    """What the model adapts by; empty for nothing."""
    strategy: Strategy | None = None
    """How a position gets what came before it."""


AS_THE_FILE_SAYS = TextScoring()


def score_text(
    artifact: Artifact,
    text: TextConfig,
    how: TextScoring = AS_THE_FILE_SAYS,
    *,
    device: str = "auto",
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> TextScore:
    """Bits per byte of a file's model on the documents of `text`, in windows of the context that it was scored with.

    Where the model adapts, by `how` or by the file, the static scores are given too. `tokenizer` is used where the file
    has none in it. DataError when the text cannot be used, its bytes do not add up or the file holds weights without a
    model, ConfigError for a stride beyond the context and for settings that this version does not know, NumericsError
    where an adaptation diverges until its loss is no number.
    """
    progress = progress or Silent()
    tokenizer = artifact_tokenizer(artifact, tokenizer)
    stride = min(ScoreConfig().stride, artifact.context) if how.stride is None else how.stride
    check_stride(stride, artifact.context)
    adaptive = build_scoring(artifact, how, stride)
    with checked_text(text, tokenizer, progress) as validation:
        model = artifact.model().to(choose_device(device))
        if adaptive.adapt:
            score = evaluate_adaptive_and_static(model, validation, adaptive, progress)
        else:
            score = evaluate(model, validation, adaptive.static(), progress)
    return TextScore(score, validation.check)


def score_predictor(
    predictor: Predictor, text: TextConfig, tokenizer: Tokenizer, *, progress: Progress | None = None
) -> TextScore:
    """Bits per byte of any predictor of this tokenizer's tokens; raises what `score_text` raises.

    ConfigError where its vocabulary is not the tokenizer's; NumericsError, with the position, where a row is no number
    or does not sum to one.
    """
    if predictor.vocab_size < tokenizer.vocab_size:
        raise ConfigError(
            f"the predictor has a vocabulary of {predictor.vocab_size:,}, the tokenizer {tokenizer.vocab_size:,} "
            "pieces; give the tokenizer that it was trained with"
        )
    progress = progress or Silent()
    with checked_text(text, tokenizer, progress) as validation:
        return TextScore(evaluate_predictor(predictor, validation, progress), validation.check)


@contextmanager
def checked_text(text: TextConfig, tokenizer: Tokenizer, progress: Progress) -> Iterator[Validation]:
    """The documents of a text as tokens whose bytes have been checked; they lie on disk as long as it takes."""
    with tempfile.TemporaryDirectory() as temporary:
        shards, _ = encode_documents(text, tokenizer, Path(temporary), progress)
        yield Validation.checked(
            TokenStream(shards), tokenizer, raw=open_corpus(text, text.paths).documents(),
            lossy_declared=text.lossy_tokenizer,
        )  # fmt: skip


def build_scoring(artifact: Artifact, how: TextScoring, stride: int) -> AdaptiveScoring:
    """What is chosen for a file, and what the file says where nothing is; ConfigError for what is not known."""
    adapt, strategy = how.adapt, how.strategy or artifact.strategy or WINDOWS
    if adapt is None:
        adapt = saved_adaptations(artifact.adapt, origin="the file's header")
    if strategy not in (WINDOWS, STREAMING):
        raise ConfigError(
            f"the file's default score is made by {strategy!r}, which this version does not know; use the version that "
            "wrote it, or choose a strategy"
        )
    return AdaptiveScoring(
        adapt=adapt, context=artifact.context, stride=stride, batch_tokens=ScoreConfig().batch_tokens, strategy=strategy
    )
