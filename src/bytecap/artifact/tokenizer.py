"""The tokenizer that goes with a file.

In:   an Artifact, and a tokenizer from elsewhere where the file has none.
Out:  a Tokenizer of the model's vocabulary.
"""

from __future__ import annotations

from bytecap.artifact.load import Artifact, no_model
from bytecap.core.digest import digest_bytes
from bytecap.core.errors import DataError, FormatError
from bytecap.text.tokenizer import Tokenizer


def artifact_tokenizer(artifact: Artifact, other: Tokenizer | None = None) -> Tokenizer:
    """The tokenizer in the file, else the other one.

    DataError when the file holds weights without a model, when no tokenizer is there, or when the other one is not the
    one that the file was made with, FormatError when the file's is none
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
    made_with = artifact.made_from.get("tokenizer", "") if artifact.tokenizer is None else tokenizer.digest
    if other is not None and made_with not in ("", digest_bytes(b""), other.digest):
        where = "has a tokenizer of its own" if artifact.tokenizer is not None else "was made with a tokenizer"
        raise DataError(
            f"the file {where} of digest {made_with}, and another one was given or lies in its run folder, of digest "
            f"{other.digest}; its pieces would mean something else: leave --tokenizer out, or give the right one"
        )
    return tokenizer


def _embedded(model: bytes) -> Tokenizer:
    """The tokenizer in the file; FormatError when it is none."""
    try:
        return Tokenizer.from_bytes(model, origin="the tokenizer in the file")
    except DataError as error:
        raise FormatError(f"{error}; the file is damaged or forged, get it again") from error
