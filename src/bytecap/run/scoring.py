"""Scores of a run's models on its own held-out text, as its recipe says.

In:   a run folder.
Out:  bits per byte.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from bytecap.artifact.load import load
from bytecap.core.device import choose_device
from bytecap.core.digest import digest_bytes, digest_json
from bytecap.core.distributed import together
from bytecap.core.errors import BackendError, DataError, NumericsError
from bytecap.core.files import refuse_place
from bytecap.core.progress import Part, Progress, Silent
from bytecap.core.settings_writer import to_canonical
from bytecap.core.version import __version__
from bytecap.model.gpt import GPT
from bytecap.run import recipe as recipes
from bytecap.run.folder import COMPARED, MODEL, RECIPE, TOKENS, UNFINISHED_SCORE
from bytecap.run.recipe import Recipe
from bytecap.run.record import ADAPTED
from bytecap.scoring.adaptive import (
    AdaptiveScoring,
    divergence_fault,
    evaluate_adaptive,
    evaluate_adaptive_and_static,
)
from bytecap.scoring.evaluate import Score, ScoreConfig, evaluate
from bytecap.scoring.kept_groups import KeptGroups
from bytecap.scoring.score_text import TextScore
from bytecap.scoring.validation import Validation
from bytecap.text.tokens import Tokens, load_tokens
from bytecap.train.checkpoint import trained_model


def score_run(
    folder: Path,
    *,
    artifact: Path | None = None,
    settings: ScoreConfig | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> TextScore:
    """Score a file of a run folder, `model.bcap` if none is named, by the recipe's settings or others.

    Where the model adapts, the static scores are given too.
    DataError when the file was made from another corpus than the tokens in the folder, or their bytes do not add up.
    """
    with together():
        recipe, tokens = recipes.load(folder / RECIPE), load_tokens(folder / TOKENS)
        recipe = recipe if settings is None else dataclasses.replace(recipe, score=settings)
        made = load(artifact or folder / MODEL)
        if made.made_from.get("corpus") != tokens.corpus_digest:
            raise DataError(
                f"the file was made from corpus {made.made_from.get('corpus')}, the tokens in {folder} are of corpus "
                f"{tokens.corpus_digest}; score it on its own text, or give one with --text"
            )
        validation = build_validation(recipe, tokens)
        model = made.model().to(choose_device(device))
    progress = progress or Silent()
    if recipe.score.adapt:
        kept = kept_groups(folder, made.data, recipe, tokens) if _can_keep(folder, progress) else None
        score = evaluate_adaptive_and_static(model, validation, adaptive_scoring(recipe), progress, kept)
    else:
        score = score_model(validation, model, recipe, progress)
    return TextScore(score, validation.check)


def _can_keep(folder: Path, progress: Progress) -> bool:
    """Tell whether groups can be kept in a folder; a score needs no more than to read it."""
    try:
        refuse_place(folder / UNFINISHED_SCORE)
    except BackendError:
        progress.note(f"{folder} cannot be written to, so a score that is stopped begins again")
        return False
    return True


def kept_groups(folder: Path, file: bytes, recipe: Recipe, tokens: Tokens) -> KeptGroups:
    """Where an adapted score of this file by the recipe's settings goes on when it was stopped."""
    follows = [digest_bytes(file), to_canonical(recipe.score), tokens.digest, __version__, torch.__version__]
    return KeptGroups(folder / UNFINISHED_SCORE, digest_json(follows))


def adapted_score(
    validation: Validation, model: GPT, recipe: Recipe, scores: dict[str, Score], kept: KeptGroups, progress: Progress
) -> dict[str, str]:
    """Add the score of the file's model that adapts to `scores`; where that fails, say why and continue.

    One that is far above the model's own is marked.
    """
    try:
        found = evaluate_adaptive(model, validation, adaptive_scoring(recipe), Part(progress, ADAPTED, 0, 1), kept)
    except (NumericsError, SystemExit) as error:  # SystemExit: another process has said it
        progress.note(str(error))
        return {ADAPTED: str(error)}
    if fault := divergence_fault(found, scores["after"]):
        progress.note(fault)
    scores[ADAPTED] = dataclasses.replace(found, fault=fault)
    return {}


def adaptive_scoring(recipe: Recipe) -> AdaptiveScoring:
    """How the recipe's model is scored while it adapts."""
    settings, context = recipe.score, scoring_context(recipe)
    return AdaptiveScoring(
        adapt=settings.adapt, context=context, stride=settings.stride, batch_tokens=settings.batch_tokens,
        strategy=settings.strategy, order=settings.order,
    )  # fmt: skip


def build_validation(recipe: Recipe, tokens: Tokens) -> Validation:
    """The held-out tokens of a run, their bytes checked."""
    return Validation.checked(
        tokens.validation_stream(),
        tokens.tokenizer,
        raw=tokens.validation_documents(),
        lossy_declared=recipe.text.lossy_tokenizer,
        byte_stream=tokens.validation_byte_stream(),
    )


def score_model(
    validation: Validation, model: GPT, recipe: Recipe, progress: Progress, *, plain: bool = False
) -> Score:
    """Bits per byte as the recipe says, or with its context in windows that do not overlap."""
    how = adaptive_scoring(recipe)
    return evaluate(model, validation, how.plain() if plain else how.static(), progress)


def scored_models(folder: Path) -> dict[str, GPT]:
    """What a run scores with its stride: the checkpoint, its file, the file to compare with, and other weights.

    Other weights are those that training gave and did not export, by their name: `last`, or a hook's such as `ema`.
    """
    before, saved = trained_model(folder)
    models = {"before": before, "after": load(folder / MODEL).model()}
    if (folder / COMPARED).exists():
        models["compared"] = load(folder / COMPARED).model()
    for name, weights in saved.other_weights.items():
        models[name] = dataclasses.replace(saved, weights=weights).model()
    return models


def scoring_context(recipe: Recipe) -> int:
    """Positions of a scoring window."""
    assert recipe.score.context is not None, "a resolved recipe knows its context"
    return recipe.score.context
