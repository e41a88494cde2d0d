"""What one does with a finished file: score it, let it write.

In:   a `.bcap` file or a run folder.
Out:  bits per byte, text.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bytecap.artifact.load import Artifact, load
from bytecap.core.device import choose_device
from bytecap.core.errors import ConfigError, DataError, FormatError
from bytecap.core.progress import Progress
from bytecap.model.gpt import GPT
from bytecap.model.sampling import sample
from bytecap.report.console import Console
from bytecap.run import recipe as recipes
from bytecap.run.folder import MODEL, RECIPE, TOKENS
from bytecap.run.recipe import MAX_SEED, Recipe
from bytecap.scoring.evaluate import Score, ScoreConfig
from bytecap.scoring.validation import Validation
from bytecap.text.config import READING, TextConfig
from bytecap.text.prepare import encode_documents
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokens import Tokens, load_tokens


def generate(
    artifact: Artifact, other: Tokenizer | None, prompt: str, tokens: int, temperature: float, seed: int
) -> str:
    """Text that continues `prompt`, prompt included. The tokenizer of the file is used where it has one."""
    if tokens < 0 or not 0 <= temperature < math.inf or not 0 <= seed < MAX_SEED:
        raise ConfigError(
            f"--tokens is {tokens}, --temperature {temperature:g} and --seed {seed}; none may be negative or endless"
        )
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise ConfigError("the prompt is not UTF-8; give it as text in that encoding") from None
    tokenizer = artifact_tokenizer(artifact, other)
    ids = [tokenizer.bos, *tokenizer.encode(prompt)]
    drawn = sample(
        artifact.model(), ids, tokens=tokens, context=artifact.context, temperature=temperature, seed=seed,
        stop=tokenizer.bos,
    )  # fmt: skip
    return tokenizer.decode(ids[1:] + drawn)


def score_file(
    path: Path, text: list[str], *, stride: int | None, settings: Sequence[str], device_name: str, console: Console
) -> dict[str, Any]:
    """Score a `.bcap` file on any text, as somebody does who has only the file. Returns the score as JSON values."""
    config = _reading(text, settings)
    artifact = load(path)
    tokenizer = artifact_tokenizer(artifact, None)
    with console.stage("score"), tempfile.TemporaryDirectory() as temporary:
        shards, raw_bytes = encode_documents(config, tokenizer, Path(temporary), console)
        validation = Validation.checked(
            TokenStream(shards), tokenizer, raw_bytes=raw_bytes, lossy_declared=config.lossy_tokenizer
        )
        score = validation.score(
            artifact.model().to(choose_device(device_name)),
            context=artifact.context,
            stride=min(ScoreConfig().stride, artifact.context) if stride is None else stride,
            batch_tokens=ScoreConfig().batch_tokens,
            progress=console,
        )
    return {**score.to_json(), "byte_check": dataclasses.asdict(validation.check)}


def _reading(text: list[str], settings: Sequence[str]) -> TextConfig:
    """How `text` is read; ConfigError for a setting that says nothing about it."""
    for word in settings:
        if word.partition("=")[0].strip() not in READING:
            raise ConfigError(f"--set {word} changes nothing here; {', '.join(READING)} do")
    return dataclasses.replace(recipes.with_overrides(Recipe(), list(settings)).text, paths=tuple(text))


def score_run(folder: Path, device_name: str, console: Console, artifact_path: Path | None = None) -> dict[str, Any]:
    """Score the file of a run folder on that run's held-out text, as the record does."""
    recipe, tokens = recipes.load(folder / RECIPE), load_tokens(folder / TOKENS)
    artifact = load(artifact_path or folder / MODEL)
    if artifact.made_from.get("corpus") != tokens.corpus_digest:
        raise DataError(
            f"the file was made from corpus {artifact.made_from.get('corpus')}, the tokens in {folder} are of corpus "
            f"{tokens.corpus_digest}; score it on its own text, or give one with --text"
        )
    with console.stage("score"):
        validation = build_validation(recipe, tokens)
        model = artifact.model().to(choose_device(device_name))
        score = score_model(validation, model, recipe, recipe.score.stride, console)
    return {**score.to_json(), "byte_check": dataclasses.asdict(validation.check)}


def build_validation(recipe: Recipe, tokens: Tokens) -> Validation:
    """The held-out tokens of a run, their bytes checked."""
    return Validation.checked(
        tokens.validation_stream(),
        tokens.tokenizer,
        raw_bytes=tokens.validation_bytes,
        lossy_declared=recipe.text.lossy_tokenizer,
        byte_stream=tokens.validation_byte_stream(),
    )


def score_model(validation: Validation, model: GPT, recipe: Recipe, stride: int, progress: Progress) -> Score:
    """Bits per byte with the recipe's context."""
    batch_tokens = recipe.score.batch_tokens
    return validation.score(
        model, context=scoring_context(recipe), stride=stride, batch_tokens=batch_tokens, progress=progress
    )


def scoring_context(recipe: Recipe) -> int:
    """Positions of a scoring window."""
    assert recipe.score.context is not None, "a resolved recipe knows its context"
    return recipe.score.context


def artifact_tokenizer(artifact: Artifact, other: Tokenizer | None) -> Tokenizer:
    """The tokenizer in the file, else the other one; FormatError when it does not fit the model."""
    if artifact.spec is None:
        raise FormatError("the file holds weights without a model; read them with bytecap.load_state_dict")
    tokenizer = Tokenizer.from_bytes(artifact.tokenizer) if artifact.tokenizer else other
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
