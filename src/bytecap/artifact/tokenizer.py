"""The tokenizer that goes with a file.

In:   an Artifact, and a tokenizer from elsewhere where the file has none.
Out:  a Tokenizer of the model's vocabulary.
"""

from __future__ import annotations

from bytecap.artifact.load import Artifact, no_model
from bytecap.core.errors import DataError, FormatError
from bytecap.text.tokenizer import Tokenizer


def artifact_tokenizer(artifact: Artifact, other: Tokenizer | None = None) -> Tokenizer:
    """The tokenizer in the file, else the other one.

    DataError when the file holds weights without a model or no tokenizer is there, FormatError when the file's is none
    or does not fit the model.
    """
    if artifact.spec is None:
        raise no_model(artifact.attached)
    tokenizer = other if artifact.tokenizer is None else _embedded(artifact.tokenizer)
    if tokenizer is None:
        raise DataError(
            "the file has no tokenizer in it; use the run folder it was made in, or make it again with --set "
            "artifact.embed_tokenizer=true"
        )
    if tokenizer.vocab_size != artifact.spec.vocab_size:
        raise FormatError(
            f"the file's model has a vocabulary of {artifact.spec.vocab_size:,}, its tokenizer "
            f"{tokenizer.vocab_size:,} pieces; they do not belong together"
        )
    return tokenizer


def _embedded(model: bytes) -> Tokenizer:
    """The tokenizer in the file; FormatError when it is none."""
    try:
        return Tokenizer.from_bytes(model, origin="the tokenizer in the file")
    except DataError as error:
        raise FormatError(f"{error}; the file is damaged or forged, get it again") from error
