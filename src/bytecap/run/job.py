"""What the fits of a run folder are made of: its own text, what a file says of it, the calibration that it keeps.

In:   a recipe, the tokens of the run, its folder.
Out:  text, container and calibration for a FitJob (run/fits.py).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bytecap.artifact.pack import Provenance
from bytecap.core.digest import digest_bytes, digest_json
from bytecap.core.distributed import from_main, together, world
from bytecap.core.errors import BackendError
from bytecap.core.progress import Progress
from bytecap.core.settings_writer import to_sparse
from bytecap.fitting.job import Container
from bytecap.fitting.measure import CalibrationText, measure
from bytecap.fitting.report import Comparison
from bytecap.fitting.source import WeightSource
from bytecap.model.renames import current_name
from bytecap.quant.calibration_file import load_calibration, save_calibration
from bytecap.quant.spill import is_spilling
from bytecap.quant.statistics import Calibration
from bytecap.run import recipe as recipes
from bytecap.run.folder import CALIBRATION, RECIPE
from bytecap.run.recipe import Recipe
from bytecap.scoring.past import WINDOWS
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokens import Tokens


def checkpoint_digests(recipe: Recipe, tokens: Tokens) -> tuple[str, ...]:
    """Digests of recipe and tokens that a checkpoint of this run may bear, by this version or an older one."""
    return tuple(digest_json([digest, tokens.digest]) for digest in recipe.known_digests)


def run_text(recipe: Recipe, tokens: Tokens) -> CalibrationText:
    """The training text of a run."""
    return CalibrationText(tokens.train_stream(), tokens.tokenizer.bos, recipe.train.context, recipe.run.seed)


def run_comparison(recipe: Recipe, tokens: Tokens) -> Comparison:
    """The held-out text of a run."""
    known = tokens.validation_bytes
    return Comparison(
        tokens.validation_stream(),
        tokens.tokenizer.bos,
        recipe.train.context,
        None if known is None else known / tokens.validation_tokens,
    )


def run_container(recipe: Recipe, tokens: Tokens, checkpoint_digest: str) -> Container:
    """What the file of a run holds in addition to the weights."""
    provenance = build_provenance(recipe, tokens.tokenizer, tokens.corpus_digest, checkpoint_digest)
    return Container(provenance, recipe.artifact, tokens.tokenizer)


def build_provenance(
    recipe: Recipe, tokenizer: Tokenizer | None, corpus_digest: str, checkpoint_digest: str
) -> Provenance:
    """What a file says about where it comes from and how it is scored."""
    return Provenance(
        recipe_digest=recipe.digest,
        corpus_digest=corpus_digest,
        checkpoint_digest=checkpoint_digest,
        tokenizer_digest=digest_bytes(b"") if tokenizer is None else tokenizer.digest,
        lossless=tokenizer is not None and tokenizer.lossless,
        context=recipe.score.context or recipe.train.context,
        strategy="" if recipe.score.strategy == WINDOWS else recipe.score.strategy,
        adapt=to_sparse(recipe.score).get("adapt", {}),
    )


def load_or_measure_calibration(
    recipe: Recipe, tokens: Tokens, folder: Path, source: WeightSource, progress: Progress
) -> Calibration | None:
    """Curvature measured once for all sizes and kept in the folder; None where the recipe asks for none.

    One with other settings than the folder's own recipe has is not kept. Several processes measure together, and one
    that is kept already is given on rank 0 alone.
    """
    if recipe.quant.calibration_tokens == 0 or source.model is None:
        return None
    measured_on = _measured_on(recipe, tokens)
    with together():
        kept = _load_kept(folder, source, measured_on, progress) if world().is_main else None
    if from_main(lambda: kept is not None):
        return kept
    found = measure(source.model, run_text(recipe, tokens), recipe.quant, source.digest, progress)
    found = dataclasses.replace(found, measured_on=measured_on)
    if not is_spilling():  # a file of it would be put together in memory
        from_main(lambda: _keep(found, recipe, tokens, folder, progress))
    return found


def _load_kept(folder: Path, source: WeightSource, measured_on: str, progress: Progress) -> Calibration | None:
    """The calibration in `folder`, if it is of this text and these settings."""
    path = folder / CALIBRATION
    if not path.exists():
        return None
    assert source.model is not None
    saved = load_calibration(path, source.digest)
    vectors = {current_name(n, source.model.spec.techniques): value for n, value in saved.vectors.items()}
    if saved.measured_on != measured_on:
        progress.note("the calibration in this folder is of other text or settings; measured again")
        return None
    return dataclasses.replace(saved, vectors=vectors)


def _keep(found: Calibration, recipe: Recipe, tokens: Tokens, folder: Path, progress: Progress) -> None:
    if found.measured_on == _measured_on(recipes.load(folder / RECIPE), tokens):
        try:
            save_calibration(folder / CALIBRATION, found)
        except BackendError:
            progress.note(f"the calibration cannot be kept in {folder}, so the next fit measures again")


def _measured_on(recipe: Recipe, tokens: Tokens) -> str:
    """A digest of everything that a calibration depends on besides the checkpoint."""
    wanted = recipe.quant.calibration_tokens, recipe.quant.labels, recipe.train.context, recipe.run.seed
    return digest_json([tokens.digest, *wanted])
