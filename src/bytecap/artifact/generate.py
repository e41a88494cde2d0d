"""A file and a prompt to text.

In:   an Artifact, a prompt.
Out:  text.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from bytecap.artifact.load import Artifact
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.core.errors import ConfigError
from bytecap.model.sampling import NextLogits, Sampling, model_logits, sample
from bytecap.text.tokenizer import Tokenizer

DEFAULT_SAMPLING = Sampling()


def generate(
    artifact: Artifact,
    prompt: str = "",
    sampling: Sampling = DEFAULT_SAMPLING,
    *,
    tokenizer: Tokenizer | None = None,
    next_logits: NextLogits | None = None,
) -> str:
    """Continue `prompt`; the text returned begins with it, also where the model reads another one.

    A tokenizer may change what it is given: SentencePiece takes U+2581 for a space, others normalise.

    `tokenizer` is used where the file has none in it, `next_logits` in place of the file's model. Raises ConfigError
    for a prompt that has no UTF-8 form, DataError when the file holds weights without a model or there is no tokenizer.
    """
    if not isinstance(prompt, str):
        raise ConfigError(f"the prompt is of type {type(prompt).__name__}; give it as a string")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise ConfigError("the prompt is not UTF-8; give it as text in that encoding") from None
    tokenizer = artifact_tokenizer(artifact, tokenizer)
    ids = [tokenizer.bos, *tokenizer.encode(prompt)]
    if next_logits is None:
        next_logits = model_logits(artifact.model(), context=artifact.context, bos=tokenizer.bos)
    drawn = sample(next_logits, ids, sampling, stop=tokenizer.bos)
    return continued(prompt, ids[1:], drawn, tokenizer.decode)


def continued(prompt: str, read: list[int], drawn: list[int], decode: Callable[[list[int]], str]) -> str:
    """The prompt as it was given, and what the tokens drawn add to the text of those that were `read` of it."""
    before, whole = decode(read), decode(read + drawn)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, whole, strict=False))
    return prompt + whole[sum(1 for _ in same) :]
