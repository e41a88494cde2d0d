"""The score of a Hugging Face model on any text, from its folder or from a `.bcap` file alone.

In:   a folder or an Artifact, a text.
Out:  a TextLoss.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bytecap.artifact.load import Artifact, load
from bytecap.core.device import choose_device
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Progress
from bytecap.huggingface.folder import CONFIG, open_folder, refuse_tokenizer_code, tokenizer_digest
from bytecap.huggingface.model import CausalModel, attached_folder, is_hugging_face, load_artifact, load_folder
from bytecap.huggingface.scoring import DEFAULT_STRIDE, TextLoss, score_tokens
from bytecap.huggingface.texts import tokenize
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer, has_tokenizer, refuse_vocabulary
from bytecap.text.config import TextConfig


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A model to be opened, and how."""

    origin: Artifact | Path
    """A file that was read, or a folder."""
    tokenizer: Path | None = None
    """A folder with the tokenizer, where the file has none in it."""
    device: str = "auto"
    trust_code: bool = False


@dataclass(frozen=True)
class Opened:
    """A model on its device with its tokenizer."""

    model: CausalModel
    tokenizer: HuggingFaceTokenizer
    context: int
    """Positions of a window."""


def find_model(file: Artifact | str | Path, device: str) -> Opening | Artifact:
    """The Hugging Face model in a file or a folder, or the file as it was read where it holds one of ours."""
    if isinstance(file, str | os.PathLike) and (Path(file) / CONFIG).is_file():
        return Opening(origin=Path(file), device=device)
    artifact = file if isinstance(file, Artifact) else load(file)
    return Opening(origin=artifact, device=device) if is_hugging_face(artifact) else artifact


def open_model(opening: Opening, progress: Progress) -> Opened:
    """The model of a file or a folder; DataError where a part of it is not there, FormatError for a forged file."""
    tokenizer = _tokenizer(opening)
    if isinstance(opening.origin, Artifact):
        model, context = load_artifact(opening.origin, trust_code=opening.trust_code), opening.origin.context
    else:
        folder = open_folder(opening.origin, trust_code=opening.trust_code)
        model, context = load_folder(folder, progress), folder.facts.context(None)
    refuse_vocabulary(tokenizer, model.facts.vocab_size, model.facts.architecture)
    model.module.to(choose_device(opening.device))
    return Opened(model, tokenizer, context)


def _tokenizer(opening: Opening) -> HuggingFaceTokenizer:
    """The tokenizer in the file or the folder, else that of another folder; DataError where there is none."""
    origin = opening.origin
    inside = has_tokenizer(origin.attached if isinstance(origin, Artifact) else [f.name for f in origin.iterdir()])
    if inside and opening.tokenizer is not None:
        raise ConfigError("the model has its own tokenizer beside it; leave --tokenizer out")
    if inside and isinstance(origin, Artifact):
        with attached_folder(origin) as path:
            return HuggingFaceTokenizer.read(path, "the file", trust_code=opening.trust_code)
    folder = origin if inside else opening.tokenizer
    if not isinstance(folder, Path):
        raise DataError(
            "there is no tokenizer with this model; give the Hugging Face folder that has it with --tokenizer, or fit "
            "again without --tokenizer-outside"
        )
    refuse_tokenizer_code(folder, trust_code=opening.trust_code)
    if isinstance(origin, Artifact) and origin.made_from.get("tokenizer") != tokenizer_digest(folder):
        raise DataError(f"the tokenizer in {folder} is not the one that the file was made with; give that one")
    return HuggingFaceTokenizer.read(folder, str(folder), trust_code=opening.trust_code)


def score_model(opening: Opening, text: TextConfig, progress: Progress, *, stride: int | None = None) -> TextLoss:
    """Bits per byte of a Hugging Face model, in windows of the file's context or of the usual one."""
    opened = open_model(opening, progress)
    tokens = tokenize(text, opened.tokenizer, progress)
    stride = min(DEFAULT_STRIDE, opened.context) if stride is None else stride
    return score_tokens(opened.model, tokens, context=opened.context, stride=stride, progress=progress)
