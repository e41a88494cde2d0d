"""The two fits of a run under one cap: our own, and by the quantization scheme that was published.

In:   a recipe, its tokens, a checkpoint and what was measured of it.
Out:  `model.bcap` by the fit that the recipe chooses, and `compared.bcap` by the other one, to compare with.

A published scheme is carried out with its own bits, clips and compressor. Where its file is over the cap its steps grow
until it fits, or the run is refused (`artifact.over_cap`); to compare with, they always grow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytecap.artifact.load import load
from bytecap.coding.general import compress
from bytecap.core.budget import SHRINK
from bytecap.core.digest import digest_bytes
from bytecap.core.errors import BackendError, BudgetError, ConfigError, FormatError, NumericsError
from bytecap.core.files import write_bytes, write_json
from bytecap.core.progress import Progress
from bytecap.fitting.job import Container, FitJob, build_job
from bytecap.fitting.measure import make_adaptation
from bytecap.fitting.report import read_report, report_path
from bytecap.fitting.source import WeightSource
from bytecap.published.scheme_fitter import build_scheme_job
from bytecap.published.scheme_plan import SchemeOptions, find_scheme
from bytecap.quant.allocation import SCHEME as OURS
from bytecap.quant.statistics import Calibration
from bytecap.run.folder import COMPARED, MODEL
from bytecap.run.job import run_comparison, run_container, run_text
from bytecap.run.recipe import Recipe
from bytecap.text.tokens import Tokens

PUBLISHED_WIDTH_SHARE = 4
"""Matrices of up to a quarter of the squared width stay at 16 bits: 65,536 elements at the published width of 512."""


@dataclass(frozen=True)
class RunFit:
    """One fit of a run's weights: its scheme, and the file that it makes."""

    file: str
    scheme: str
    """A published scheme, or `bytecap` for our own fit."""


def run_fits(recipe: Recipe) -> tuple[RunFit, ...]:
    """The fit that the recipe chooses, then the other one: our own, or the scheme of its source, if it names one."""
    chosen = recipe.artifact.scheme or OURS
    other = recipe.source.scheme if chosen == OURS else OURS
    return (RunFit(MODEL, chosen), *([RunFit(COMPARED, other)] if other else []))


def refuse_missing_compressors(recipe: Recipe) -> None:
    """Raise BackendError before any work where the compressor of a fit is not installed; no other is used instead."""
    for fit in run_fits(recipe):
        codec = _compressor(recipe, fit)
        try:
            compress(codec, b"")
        except BackendError as error:
            raise BackendError(f"scheme {fit.scheme} stores its file with {codec}: {error}") from None


def build_run_fit_job(
    recipe: Recipe, tokens: Tokens, source: WeightSource, calibration: Calibration | None, fit: RunFit
) -> FitJob:
    """The job that makes one of the fits."""
    container = run_container(recipe, tokens, source.digest)
    comparison = run_comparison(recipe, tokens)
    if fit.scheme == OURS:
        adaptation = None
        if source.model is not None:
            adaptation = make_adaptation(source.model, run_text(recipe, tokens), recipe.quant)
        return build_job(source, calibration, recipe.quant, container, adaptation, comparison)
    config = dataclasses.replace(container.config, compressor=_compressor(recipe, fit))
    options = SchemeOptions(
        fit.scheme,
        keep_small=keep_small(recipe),
        over_cap=recipe.artifact.over_cap if fit.file == MODEL else SHRINK,
    )
    container = Container(container.provenance, config, container.tokenizer)
    return build_scheme_job(source, calibration, options, container, comparison)


def keep_small(recipe: Recipe) -> int:
    """Matrices of so many elements or fewer stay at 16 bits in a scheme, at the scale of this model."""
    chosen = recipe.artifact.keep_small
    return recipe.model.d_model**2 // PUBLISHED_WIDTH_SHARE if chosen is None else chosen


def write_fit(make_job: Callable[[], FitJob], recipe: Recipe, folder: Path, fit: RunFit, progress: Progress) -> None:
    """Write the file of one fit and the report beside it.

    Where the file to compare with cannot be made the reason is noted, and the run goes on without it.
    """
    path, budget = folder / fit.file, recipe.artifact.budget
    try:
        fitted = make_job().fit(budget, progress)
    except (BudgetError, ConfigError, NumericsError) as error:
        if fit.file == MODEL:
            raise
        progress.note(f"there is nothing to compare with: scheme {fit.scheme} cannot be carried out ({error})")
        for stale in (path, report_path(path)):
            stale.unlink(missing_ok=True)
        return
    write_json(report_path(path), fitted.report)
    write_bytes(path, fitted.result.data)
    what = "" if fit.scheme == OURS else f", scheme {fit.scheme}"
    progress.note(f"{len(fitted.result.data):,} of {budget.file_bytes:,} bytes{what}")


def missing_files(folder: Path, recipe: Recipe, checkpoint_digest: str, progress: Progress) -> list[str]:
    """Names of the files that this recipe has not made of this checkpoint yet; a damaged one is noted."""
    return [f.file for f in run_fits(recipe) if not _is_made(folder, recipe, f, checkpoint_digest, progress)]


def _is_made(folder: Path, recipe: Recipe, fit: RunFit, checkpoint_digest: str, progress: Progress) -> bool:
    path = folder / fit.file
    if not (path.exists() and report_path(path).exists()):
        return False
    try:
        made = load(path)
    except FormatError as error:
        progress.note(f"{error}; made again from the checkpoint")
        return False
    known = made.made_from.get("recipe") in recipe.known_digests
    size_fits = made.size_bytes <= recipe.artifact.budget.file_bytes
    scheme_fits = read_report(report_path(path))["scheme"] == fit.scheme
    return known and made.made_from.get("checkpoint") == checkpoint_digest and size_fits and scheme_fits


def fits_summary(recipe: Recipe, scores: dict[str, dict[str, Any]], folder: Path) -> dict[str, dict[str, Any]]:
    """The table `fits` of a run record, by scheme."""
    found = {}
    for fit, score in zip(run_fits(recipe), ("after", "compared"), strict=False):
        path = folder / fit.file
        if score not in scores:
            continue
        report = read_report(report_path(path))
        found[fit.scheme] = {
            "file": fit.file,
            "digest": digest_bytes(path.read_bytes()),
            "compressor": _compressor(recipe, fit),
            **{name: report[name] for name in ("bytes", "unused_bytes", "own_bytes", "step_scale")},
            "as_published": report["step_scale"] == 1.0 and fit.scheme == recipe.source.scheme,
            "bits_per_byte": scores[score]["bits_per_byte"],
        }
    return found


def _compressor(recipe: Recipe, fit: RunFit) -> str:
    return recipe.artifact.compressor if fit.scheme == OURS else find_scheme(fit.scheme).compressor
