"""The whole flow in reading order, one function for each stage: text in, record out.

In:   a resolved recipe and a run folder.
Out:  the products of every stage as files in the folder; a stage whose product is there and fits is not entered again.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bytecap.artifact.load import load
from bytecap.core.device import choose_device, hardware
from bytecap.core.digest import digest_bytes
from bytecap.core.distributed import from_main, refuse_differences, together, world
from bytecap.core.files import read_object, write_json
from bytecap.core.progress import Part
from bytecap.core.version import __version__
from bytecap.fitting.job import Container, refuse_small
from bytecap.fitting.source import open_checkpoint, source_from_module
from bytecap.model.gpt import GPT
from bytecap.model.sampling import Sampling
from bytecap.model.spec import ModelSpec
from bytecap.report.compressors import compressor_baselines
from bytecap.report.console import Console
from bytecap.run.claims import claim_contradictions, score_contradictions
from bytecap.run.fits import (
    build_run_fit_job,
    fits_summary,
    missing_files,
    refuse_missing_compressors,
    run_fits,
    write_fit,
)
from bytecap.run.folder import (
    COMPARED,
    LOG,
    MODEL,
    RECIPE,
    RECORD,
    SCORE,
    TOKENS,
    claim_folder,
    load_seconds,
    timed,
    writing_run,
)
from bytecap.run.grids import plan_steps, refuse_small_plan, run_grids
from bytecap.run.job import build_provenance, checkpoint_digests, load_or_measure_calibration
from bytecap.run.recipe import Recipe
from bytecap.run.record import (
    FAILED,
    SCHEMA,
    SCORES,
    RunRecord,
    artifact_summary,
    corpus_summary,
    load_record,
    model_summary,
    record_fault,
    training_summary,
)
from bytecap.run.scoring import adapted_score, build_validation, kept_groups, score_model, scored_models
from bytecap.scoring.continue_text import continue_text
from bytecap.scoring.documents import documents_json
from bytecap.scoring.evaluate import DOCUMENTS
from bytecap.text.prepare import changed_file, prepare
from bytecap.text.shared import share_tokens
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokens import MANIFEST, Tokens, load_tokens
from bytecap.train.checkpoint import CHECKPOINT, load_training_state
from bytecap.train.loop import METRICS, Trainer, TrainingJob
from bytecap.train.parallel import rows_of_rank

SAMPLE_PROMPT, SAMPLE_TOKENS, SAMPLE_TEMPERATURE = 80, 160, 0.8
"""The sample continues the first 80 characters of held-out text by 160 tokens."""


def run(
    recipe: Recipe, folder: Path, device_name: str, console: Console, *, tokens_from: Path | None = None
) -> dict[str, Any]:
    """Every stage in turn, while no other process may write into the folder. Returns the run record as JSON values.

    `tokens_from` is a folder of tokens made of the same text with the same settings, taken instead of preparing it.

    A finished run gives its record again, if the file is still the one that it speaks of. BackendError when another
    process is writing into the folder, ConfigError when it holds a run of another recipe.
    """
    with together():
        device = choose_device(device_name)
        rows_of_rank(recipe.train.batch, recipe.train.micro_batch)  # a batch that cannot be shared, before all work
    refuse_differences({"the digest of the recipe": recipe.digest})
    with writing_run(folder):
        recipe = claim_folder(recipe, folder)
        with together():
            refuse_missing_compressors(recipe)
        if world().is_main:
            console.log_to(folder / LOG)
        if (record := from_main(lambda: _finished(recipe, folder, console))) is not None:
            return record
        tokens = prepare_stage(recipe, folder, console, tokens_from)
        train_stage(recipe, tokens, folder, device, console)
        fit_stage(recipe, tokens, folder, device, console)
        scores = score_stage(recipe, tokens, folder, device, console)
        machine = {**hardware(device), "processes": world().size}
        return from_main(lambda: report_stage(recipe, tokens, scores, folder, machine, console))


def _finished(recipe: Recipe, folder: Path, console: Console) -> dict[str, Any] | None:
    """The record of a finished run, if the file is still the one that it speaks of."""
    if not (folder / RECORD).exists():
        return None
    record = load_record(folder)
    fault = record_fault(record, recipe, folder)
    if fault is None and (contradictions := claim_contradictions(record, folder / SCORE)):
        fault = f"{folder / RECORD} contradicts itself or {SCORE}: {contradictions[0]}"
    if fault is None:
        console.note(f"{folder} is finished; this is its record")
        return record
    console.note(f"{fault}; made again from what is here")
    return None


def prepare_stage(recipe: Recipe, folder: Path, console: Console, tokens_from: Path | None = None) -> Tokens:
    """Raw text to token shards; a cap that no training can meet is refused as soon as the tokenizer is known."""
    from_main(lambda: _prepare(recipe, folder, console, tokens_from))
    with together():
        tokens = load_tokens(folder / TOKENS)
    refuse_differences({"the digest of the tokens": tokens.digest})
    if tokens.unchecked:
        console.note(tokens.unchecked)
    return tokens


def _prepare(recipe: Recipe, folder: Path, console: Console, tokens_from: Path | None) -> None:
    manifest = folder / TOKENS / MANIFEST
    if manifest.exists():
        if (changed := changed_file(recipe.text, manifest.stat().st_mtime)) is not None:
            console.note(
                f"{changed} was changed after the tokens in {folder} were made, which stay as they are; choose another "
                "--out to read it again"
            )
    elif tokens_from is not None:
        with console.stage("prepare"), timed(folder, "prepare"):
            share_tokens(tokens_from, folder / TOKENS)
            console.note(f"tokens are those of {tokens_from}")
    else:
        with console.stage("prepare"), timed(folder, "prepare"):
            prepare(recipe.text, folder / TOKENS, console, lambda tokenizer: _refuse_small_cap(recipe, tokenizer))


def train_stage(recipe: Recipe, tokens: Tokens, folder: Path, device: torch.device, console: Console) -> None:
    """Tokens to a finished checkpoint, continuing where an interrupted run stopped."""
    with together():
        spec = ModelSpec.of(recipe.model, tokens.vocab_size)
        job = TrainingJob(
            config=recipe.train,
            spec=spec,
            stream=tokens.train_stream(),
            bos=tokens.tokenizer.bos,
            seed=recipe.run.seed,
            tokens=tokens.digest,
            made_from=checkpoint_digests(recipe, tokens),
            grids=run_grids(recipe, spec),
            plan_steps=lambda model: plan_steps(model, recipe, tokens, device),
        )
    with console.stage("train"), timed(folder, "train"):
        Trainer(job, folder, device, console).run()


def fit_stage(recipe: Recipe, tokens: Tokens, folder: Path, device: torch.device, console: Console) -> None:
    """Checkpoint to files under the cap, our own fit and the published scheme; one that is made already stays."""
    with together():
        made_from = checkpoint_digests(recipe, tokens)
        source = open_checkpoint(folder / CHECKPOINT, finished=True, tokens=tokens.digest, made_from=made_from)
    missing = from_main(lambda: missing_files(folder, recipe, source.digest, console))
    if not missing:
        return
    if source.model is not None:
        source.model.to(device)
    with console.stage("fit"), timed(folder, "fit"):
        calibration = load_or_measure_calibration(recipe, tokens, folder, source, console)
        for fit in run_fits(recipe):
            if fit.file in missing:
                job = partial(build_run_fit_job, recipe, tokens, source, calibration, fit)
                from_main(partial(write_fit, job, recipe, folder, fit, console))


def score_stage(
    recipe: Recipe, tokens: Tokens, folder: Path, device: torch.device, console: Console
) -> dict[str, dict[str, Any]]:
    """Bits per byte of the checkpoint and of the files, sliding, and of checkpoint and model plain."""
    if (known := from_main(lambda: _known_scores(folder, console))) is not None:
        return known
    with together():
        models = {name: model.to(device) for name, model in scored_models(folder).items()}
    with console.stage("score"), timed(folder, "score"):
        with together():
            validation = build_validation(recipe, tokens)
        passes = {name: (model, False) for name, model in models.items()}
        passes |= {f"{name}_plain": (models[name], True) for name in ("before", "after")}
        scores = {
            name: score_model(validation, model, recipe, Part(console, name, index, len(passes)), plain=plain)
            for index, (name, (model, plain)) in enumerate(passes.items())
        }
        failed = {}
        if recipe.score.adapt:
            kept = kept_groups(folder, (folder / MODEL).read_bytes(), recipe, tokens)
            failed = adapted_score(validation, models["after"], recipe, scores, kept, console)
    values = {name: score.to_json() for name, score in scores.items()}
    check = dataclasses.asdict(validation.check)
    by_document = documents_json({name: its.documents for name, its in scores.items() if its.documents is not None})
    made = {**_digests(folder), "byte_check": check, "scores": values, FAILED: failed, DOCUMENTS: by_document}
    from_main(lambda: write_json(folder / SCORE, made))
    return values


def _known_scores(folder: Path, console: Console) -> dict[str, Any] | None:
    """The scores in `folder`, if they are of its files and their figures follow from each other."""
    if not (folder / SCORE).exists():
        return None
    saved = read_object(folder / SCORE, SCORES)
    digests = {name: saved.get(name) for name in ("artifact", "compared") if name in saved}
    if digests != _digests(folder):
        return None
    if contradictions := score_contradictions(saved):
        console.note(f"{folder / SCORE} contradicts itself: {contradictions[0]}; scored again")
        return None
    return dict(saved["scores"])


def _digests(folder: Path) -> dict[str, str]:
    """Digests of the files that are scored."""
    files = {"artifact": folder / MODEL, "compared": folder / COMPARED}
    return {name: digest_bytes(path.read_bytes()) for name, path in files.items() if path.exists()}


def report_stage(
    recipe: Recipe, tokens: Tokens, scores: dict[str, Any], folder: Path, machine: dict[str, Any], console: Console
) -> dict[str, Any]:
    """Everything the stages left, in one record."""
    with console.stage("report"), timed(folder, "report"):
        artifact = load(folder / MODEL)
        reached = load_training_state(folder / CHECKPOINT)
        prompt = (tokens.validation_documents() or [""])[0][:SAMPLE_PROMPT]
        sampling = Sampling(tokens=SAMPLE_TOKENS, temperature=SAMPLE_TEMPERATURE, seed=recipe.run.seed)
        written = continue_text(artifact, prompt, sampling, tokenizer=tokens.tokenizer)
        compressors = compressor_baselines(tokens.validation_documents() or [], console)
    scored = read_object(folder / SCORE, SCORES)
    record = RunRecord(
        schema=SCHEMA,
        program=f"bytecap {__version__}",
        recipe=recipe.to_json(),
        recipe_digest=recipe.digest,
        corpus=corpus_summary(tokens, scores["after"]["text_bytes"]),
        hardware=machine,
        seconds={**load_seconds(folder), "train": reached.seconds},
        model=model_summary(artifact),
        training=training_summary(reached, tokens),
        artifact=artifact_summary(artifact, folder),
        byte_check=scored["byte_check"],
        failed=scored.get(FAILED, {}),
        fits=fits_summary(recipe, scores, folder),
        scores=scores,
        compressors=compressors,
        sample={"prompt": prompt, "continued": written[len(prompt) :]},
        files={
            "the model": MODEL,
            **({"the other fit": COMPARED} if "compared" in scores else {}),
            "this record": RECORD,
            "every setting": RECIPE,
            "training curve": METRICS,
            "unfitted weights": CHECKPOINT,
        },
    ).to_json()
    write_json(folder / RECORD, record)
    return record


def _refuse_small_cap(recipe: Recipe, tokenizer: Tokenizer) -> None:
    """Raise BudgetError when no training could bring the model under the cap, once the tokenizer is known."""
    spec = ModelSpec.of(recipe.model, tokenizer.vocab_size)
    container = Container(build_provenance(recipe, tokenizer, "", ""), recipe.artifact, tokenizer)
    model = GPT(spec)
    refuse_small(source_from_module(model), recipe.quant, container, recipe.artifact.budget)
    refuse_small_plan(model, recipe, container)
