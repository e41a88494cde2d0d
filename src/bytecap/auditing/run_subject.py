"""What is at hand of a run folder, or of a file alone.

In:   a run folder and a file in it; a `.bcap` file and texts.
Out:  a Subject.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bytecap.artifact.load import load
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.auditing.own_models import scored_model
from bytecap.auditing.subject import (
    ByteCounter,
    Clocks,
    CountedFiles,
    MemoryStream,
    Origin,
    ScoredModel,
    ScoredText,
    Subject,
    TrainingText,
)
from bytecap.core.device import choose_device
from bytecap.core.errors import DataError
from bytecap.core.progress import Progress
from bytecap.run import recipe as recipes
from bytecap.run.folder import MODEL, RECIPE, RECORD, TOKENS
from bytecap.run.recipe import Recipe
from bytecap.run.record import ADAPTED, load_record, record_fault
from bytecap.run.scoring import adaptive_scoring
from bytecap.scoring.adaptive import AdaptiveScoring
from bytecap.scoring.evaluate import ScoreConfig
from bytecap.scoring.score_text import AS_THE_FILE_SAYS, build_scoring
from bytecap.text.byte_counts import build_table
from bytecap.text.config import TextConfig
from bytecap.text.prepare import encode_documents
from bytecap.text.shards import StreamSlice, TokenStream
from bytecap.text.survey import open_corpus
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokens import Tokens, load_tokens

MAX_TRAINING_TOKENS = 50_000_000
"""Training tokens of a run that are compared with its held-out text."""


def run_subject(folder: Path, file: Path, *, device: str = "auto") -> Subject:
    """A file of a run folder, with all that the folder knows of it.

    DataError when the record in the folder speaks of another file than `model.bcap`, or the tokens are damaged.
    """
    recipe, tokens = recipes.load(folder / RECIPE), load_tokens(folder / TOKENS)
    artifact = load(file)
    tokenizer = artifact_tokenizer(artifact, tokens.tokenizer)
    record = _record(recipe, folder) if file.name == MODEL else None
    after = {} if record is None else _default_score(record)
    return Subject(
        name=str(folder if file.name == MODEL else file),
        model=_model(file, tokenizer, adaptive_scoring(recipe), device),
        text=ScoredText(
            stream=tokens.validation_stream(), bos=tokenizer.bos, raw=tokens.validation_documents(),
            lossy_declared=recipe.text.lossy_tokenizer, claimed_tokens=after.get("tokens"),
            claimed_bytes=after.get("text_bytes"),
        ),
        tokenizer=ByteCounter(tokenizer=tokenizer, table=build_table(tokenizer)),
        training=_training_of_run(tokens),
        files=CountedFiles(
            paths=(file,), cap_bytes=recipe.artifact.budget.cap_bytes if file.name == MODEL else None,
            reserve_bytes=recipe.artifact.reserve_bytes,
            beside=() if artifact.tokenizer is not None else (tokens.folder / tokens.tokenizer_path,),
        ),
        clocks=None if record is None else _clocks(record, recipe),
        origin=Origin(recipe_digest=recipe.digest, seed=recipe.run.seed),
    )  # fmt: skip


def file_subject(
    file: Path, text: TextConfig | None, training: TextConfig | None, *, device: str, progress: Progress
) -> Subject:
    """A file alone, and the texts that are given with it; errors as of `scoring.score_text`."""
    artifact = load(file)
    tokenizer, stride = artifact_tokenizer(artifact), min(ScoreConfig().stride, artifact.context)
    return Subject(
        name=str(file),
        model=_model(file, tokenizer, build_scoring(artifact, AS_THE_FILE_SAYS, stride), device),
        text=None if text is None else _text(text, tokenizer, progress),
        tokenizer=ByteCounter(tokenizer=tokenizer, table=build_table(tokenizer)),
        training=None if training is None else raw_training(training),
        files=CountedFiles(paths=(file,)),
    )


def raw_training(text: TextConfig) -> TrainingText:
    """Training text that is given as files."""
    return TrainingText(documents=lambda: open_corpus(text, text.paths).documents())


def _model(file: Path, tokenizer: Tokenizer, how: AdaptiveScoring, device: str) -> ScoredModel:
    return scored_model(lambda: load(file).model().to(choose_device(device)), tokenizer.bos, how)


def _text(text: TextConfig, tokenizer: Tokenizer, progress: Progress) -> ScoredText:
    with tempfile.TemporaryDirectory() as temporary:
        shards, _ = encode_documents(text, tokenizer, Path(temporary), progress)
        stream = TokenStream(shards)
        tokens_N = stream.read(0, len(stream))
    raw = list(open_corpus(text, text.paths).documents())
    return ScoredText(
        stream=MemoryStream(tokens_N), bos=tokenizer.bos, raw=raw, lossy_declared=text.lossy_tokenizer
    )  # fmt: skip


def _training_of_run(tokens: Tokens) -> TrainingText:
    """The training shards as text; of very long ones the beginning."""
    whole, tokenizer = tokens.train_stream(), tokens.tokenizer
    part = StreamSlice(whole, 0, MAX_TRAINING_TOKENS) if len(whole) > MAX_TRAINING_TOKENS else whole
    note = "" if part is whole else f" (the first {len(part):,} of {len(whole):,} training tokens)"
    return TrainingText(
        documents=lambda: (tokenizer.decode(ids.tolist()) for ids in part.documents(tokenizer.bos)), decoded=True,
        note=note,
    )  # fmt: skip


def _record(recipe: Recipe, folder: Path) -> dict[str, Any] | None:
    """The record of the run, if it is finished; DataError where it speaks of another file."""
    if not (folder / RECORD).exists():
        return None
    record = load_record(folder)
    if fault := record_fault(record, recipe, folder):
        raise DataError(f"{fault}; finish the run with `bytecap run`, or give the file alone, outside of the folder")
    return record


def _default_score(record: dict[str, Any]) -> dict[str, Any]:
    """The score of the file: while it adapts, where the recipe says so."""
    scores: dict[str, dict[str, Any]] = record["scores"]
    return scores.get(ADAPTED) or scores["after"]


def _clocks(record: dict[str, Any], recipe: Recipe) -> Clocks:
    seconds, after = record["seconds"], _default_score(record)
    outside = {stage: spent for stage, spent in seconds.items() if stage not in ("train", "score")}
    if compiling := record["training"].get("compile_seconds"):
        outside["compile"] = compiling
    return Clocks(
        training=seconds.get("train"), training_limit=recipe.train.seconds, evaluation=after["seconds"],
        calibration=seconds.get("fit") if recipe.quant.calibration_tokens else None, outside=outside,
    )  # fmt: skip
