"""A file and a prompt to text.

In:   an Artifact, a prompt.
Out:  text.
"""

from __future__ import annotations

import math

from bytecap.artifact.load import Artifact
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.core.errors import ConfigError
from bytecap.model.sampling import NextLogits, model_logits, sample
from bytecap.model.spec import MAX_SEED
from bytecap.text.tokenizer import Tokenizer

MAX_TOKENS = 1_000_000
"""Most tokens of one text: hours of work, all of it held in memory."""


def generate(
    artifact: Artifact,
    prompt: str = "",
    *,
    tokens: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
    tokenizer: Tokenizer | None = None,
    next_logits: NextLogits | None = None,
) -> str:
    """Continue `prompt` by at most `tokens` tokens; the text returned begins with it.

    At temperature 0 the likeliest token is taken, at 1 they are drawn as the model says; the same seed writes the same
    text. `tokenizer` is used where the file has none in it, `next_logits` in place of the file's model. ConfigError for
    a prompt that has no UTF-8 form and for numbers that cannot be, DataError when the file holds weights without a
    model or there is no tokenizer.
    """
    refuse_numbers(tokens, temperature, seed)
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise ConfigError("the prompt is not UTF-8; give it as text in that encoding") from None
    tokenizer = artifact_tokenizer(artifact, tokenizer)
    ids = [tokenizer.bos, *tokenizer.encode(prompt)]
    if next_logits is None:
        next_logits = model_logits(artifact.model(), context=artifact.context, bos=tokenizer.bos)
    drawn = sample(next_logits, ids, tokens=tokens, temperature=temperature, seed=seed, stop=tokenizer.bos)
    return tokenizer.decode(ids[1:] + drawn)


def refuse_numbers(tokens: int, temperature: float, seed: int) -> None:
    """ConfigError for numbers that no text can be drawn with."""
    if not 0 <= tokens <= MAX_TOKENS:
        raise ConfigError(f"{tokens:,} tokens cannot be generated; give 0 to {MAX_TOKENS:,}")
    if not 0 <= temperature < math.inf:
        raise ConfigError(f"the temperature is {temperature:g}; it must be a finite number, 0 or more")
    if not 0 <= seed < MAX_SEED:
        raise ConfigError(f"the seed is {seed}; it must lie between 0 and {MAX_SEED:,}")
