"""The subject of an audit, from a run folder, a file alone, or any predictor.

In:   a run folder and a file in it; a `.bcap` file or a predictor, and texts.
Out:  a Subject.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bytecap.artifact.load import Artifact, load
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.auditing.hugging_face import GivenTexts, hugging_face_subject
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
    in_chunks,
)
from bytecap.core.device import choose_device
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Progress
from bytecap.huggingface.model import is_hugging_face
from bytecap.huggingface.scored import Opening
from bytecap.model.gpt import GPT
from bytecap.run import recipe as recipes
from bytecap.run.claims import claim_contradictions
from bytecap.run.compared_runs import read_document_sums
from bytecap.run.folder import MODEL, RECIPE, RECORD, SCORE, SEED_FOLDER, TOKENS
from bytecap.run.recipe import Recipe
from bytecap.run.record import ADAPTED, load_record, record_fault
from bytecap.run.scoring import adaptive_scoring
from bytecap.scoring.adaptive import AdaptiveScoring
from bytecap.scoring.evaluate import ScoreConfig
from bytecap.scoring.predictor import Predictor
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
        model=_model(file, artifact, tokenizer, adaptive_scoring(recipe), device),
        text=ScoredText(
            stream=tokens.validation_stream(), bos=tokenizer.bos, raw=tokens.validation_documents(),
            lossy_declared=recipe.text.lossy_tokenizer, claimed_tokens=after.get("tokens"),
            claimed_bytes=after.get("text_bytes"), claimed_nats_D=None if record is None else _nats(folder, record),
            contradictions=() if record is None else tuple(claim_contradictions(record, folder / SCORE)),
        ),
        tokenizer=ByteCounter(tokenizer=tokenizer, table=build_table(tokenizer)),
        training=_training_of_run(tokens),
        files=CountedFiles(
            paths=(file,), cap_bytes=recipe.artifact.budget.cap_bytes if file.name == MODEL else None,
            reserve_bytes=recipe.artifact.reserve_bytes,
            uncounted=() if artifact.tokenizer is not None else (tokens.folder / tokens.tokenizer_path,),
        ),
        clocks=None if record is None else _clocks(record, recipe),
        origin=Origin(recipe_digest=recipe.digest, seed=recipe.run.seed, others=_seeds(folder)),
    )  # fmt: skip


def file_subject(file: Path, given: GivenTexts, *, device: str, progress: Progress) -> Subject:
    """A file alone, and the given texts; raises what `score_text` raises."""
    artifact = load(file)
    if is_hugging_face(artifact):
        opening = Opening(origin=artifact, device=device)
        return hugging_face_subject(opening, file, given, progress)
    tokenizer, stride = artifact_tokenizer(artifact), min(ScoreConfig().stride, artifact.context)
    how = build_scoring(artifact, AS_THE_FILE_SAYS, stride)
    subject = _with_texts(str(file), _model(file, artifact, tokenizer, how, device), tokenizer, given, progress)
    return dataclasses.replace(subject, files=CountedFiles(paths=(file,)))


def predictor_subject(
    predictor: Predictor, given: GivenTexts, tokenizer: Tokenizer | None, progress: Progress
) -> Subject:
    """Any predictor, and the texts that are given with it; ConfigError without a tokenizer."""
    if tokenizer is None:
        raise ConfigError("a predictor is asked about tokens; give the tokenizer that they are of")
    model = ScoredModel(make=lambda: predictor, vocab_size=predictor.vocab_size, bos=tokenizer.bos, plan=in_chunks)
    return _with_texts(f"a {type(predictor).__name__}", model, tokenizer, given, progress)


def _with_texts(name: str, model: ScoredModel, tokenizer: Tokenizer, given: GivenTexts, progress: Progress) -> Subject:
    training, held_out = given.training, given.held_out
    return Subject(
        name=name,
        model=model,
        text=None if held_out is None else _text(held_out, tokenizer, progress),
        tokenizer=ByteCounter(tokenizer=tokenizer, table=build_table(tokenizer)),
        training=None if training is None else raw_training(training),
    )


def raw_training(text: TextConfig) -> TrainingText:
    """Training text that is given as files."""
    return TrainingText(documents=lambda: open_corpus(text, text.paths).documents())


def _model(file: Path, artifact: Artifact, tokenizer: Tokenizer, how: AdaptiveScoring, device: str) -> ScoredModel:
    def load_model() -> GPT:
        return load(file).model().to(choose_device(device))

    text_V, loaded = build_table(tokenizer).text_V, artifact.model().to(choose_device(device))
    return scored_model(load_model, tokenizer.bos, how, text_V, loaded)


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


def _nats(folder: Path, record: dict[str, Any]) -> npt.NDArray[np.float64] | None:
    """The loss of each document, where the scores of the run have it."""
    name = ADAPTED if ADAPTED in record["scores"] else "after"
    sums = read_document_sums(folder / SCORE, record, name)
    return None if sums is None else sums["nats"]


def _seeds(folder: Path) -> dict[int, str]:
    """Digests of settings, the seed apart, of the finished runs of several seeds that stand beside this one."""
    if not folder.resolve().name.startswith(SEED_FOLDER):
        return {}
    found = {}
    for path in sorted(folder.resolve().parent.glob(f"{SEED_FOLDER}*/{RECORD}")):
        recipe = recipes.load(path.parent / RECIPE)
        alike = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, seed=0))
        found[recipe.run.seed] = alike.digest
    return found if recipes.load(folder / RECIPE).run.seed in found else {}


def _clocks(record: dict[str, Any], recipe: Recipe) -> Clocks:
    seconds, after = record["seconds"], _default_score(record)
    outside = {stage: spent for stage, spent in seconds.items() if stage not in ("train", "score")}
    if compiling := record["training"].get("compile_seconds"):
        outside["compile"] = compiling
    return Clocks(
        training=seconds.get("train"), training_limit=recipe.train.seconds, evaluation=after["seconds"],
        calibration=seconds.get("fit") if recipe.quant.calibration_tokens else None, outside=outside,
    )  # fmt: skip
