"""A file's score on any text, as somebody computes it who has only the file.

In:   an Artifact, a text.
Out:  a TextScore.
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytecap.artifact.load import Artifact
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.core.device import choose_device
from bytecap.core.progress import Progress, Silent
from bytecap.scoring.evaluate import Score, ScoreConfig
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


def score_text(
    artifact: Artifact,
    text: TextConfig,
    *,
    stride: int | None = None,
    device: str = "auto",
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> TextScore:
    """Bits per byte of a file's model on the documents of `text`, in windows of the context that it was scored with.

    Each window after the first scores `stride` new positions; None means that of ScoreConfig, at most the context.
    `tokenizer` is used where the file has none in it. DataError when the text cannot be used or its bytes do not add
    up, ConfigError for a stride beyond the context, FormatError when the file holds weights without a model.
    """
    progress = progress or Silent()
    tokenizer = artifact_tokenizer(artifact, tokenizer)
    defaults = ScoreConfig()
    stride = min(defaults.stride, artifact.context) if stride is None else stride
    check_stride(stride, artifact.context)
    with tempfile.TemporaryDirectory() as temporary:
        shards, _ = encode_documents(text, tokenizer, Path(temporary), progress)
        validation = Validation.checked(
            TokenStream(shards), tokenizer, raw=open_corpus(text, text.paths).documents(),
            lossy_declared=text.lossy_tokenizer,
        )  # fmt: skip
        score = validation.score(
            artifact.model().to(choose_device(device)),
            context=artifact.context,
            stride=stride,
            batch_tokens=defaults.batch_tokens,
            progress=progress,
        )
    return TextScore(score, validation.check)
