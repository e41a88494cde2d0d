"""The run record: the one schema of what a run did. docs/run_record.md tells it to readers.

In:   what the stages left.
Out:  `record.json`; and whether the record in a folder still describes the file next to it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bytecap.artifact.load import Artifact
from bytecap.core.digest import digest_bytes
from bytecap.core.errors import DataError
from bytecap.core.files import read_object, unusable_json
from bytecap.core.units import bits_per_weight
from bytecap.fitting.report import read_report, report_path
from bytecap.model.hooks import Techniques
from bytecap.model.spec import ModelSpec
from bytecap.report.tables import summary
from bytecap.run.folder import MODEL, RECORD, SCORE
from bytecap.run.recipe import Recipe
from bytecap.text.tokens import Tokens
from bytecap.train.checkpoint import TrainingState

SCHEMA = 2
"""Schema 1 had no `artifact.digest` and `compressors.sample`, and `kappa` for `artifact.step_scale`; it is read."""
_FITS_FORMERLY = "finishes"
"""What `fits` was called before version 0.2.0."""
_SCORE = {"bits_per_byte": float, "text_bytes": int, "tokens": int, "context": int, "stride": int, "seconds": float}
ADAPTED, FAILED = "adapted", "failed"
"""The score of a file that adapts; and where it stands which scores could not be had, and why."""
SCORED = ("before", "after", "before_plain", "after_plain")
"""What the score stage always scores: checkpoint and file, with the recipe's stride and with windows side by side."""
SCORES = {"artifact": str, "byte_check": dict, "scores": dict.fromkeys(SCORED, _SCORE)}
"""The shape of `score.json`; `artifact` is the digest of the file that was scored."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything a reader needs to assess and repeat a run."""

    schema: int
    """Version of this schema."""
    program: str
    """Name and version of what made it."""
    recipe: dict[str, Any]
    """Every setting, resolved."""
    recipe_digest: str
    """Digest of what differs in `recipe` from the first defaults."""
    corpus: dict[str, Any]
    """Name, digest of the documents and their split, digest of the held-out text (scores compare where either is
    equal), training tokens, validation documents, tokens and bytes, vocabulary, length at which texts were cut,
    skipped documents by reason."""
    hardware: dict[str, Any]
    """Device, threads, Python, PyTorch, system."""
    seconds: dict[str, float]
    """Wall time of each stage; `train` by its own clock, over all restarts, without compilation and checkpoints."""
    model: dict[str, Any]
    """Parameters, by role; the blocks in which each technique works, and the order in which blocks are visited."""
    training: dict[str, Any]
    """Steps, tokens, tokens per second, epochs of the text, last loss in nats per token, seconds of
    compilation, which are not part of any other time."""
    artifact: dict[str, Any]
    """Bytes, digest, cap, reserve, unused bytes, bits per weight (whole file), step scale, predicted bytes and increase
    of the loss in nats per token, bytes of each section."""
    byte_check: dict[str, Any]
    """Validation bytes as the table counts them, as decoded, and raw (null if not available)."""
    fits: dict[str, dict[str, Any]]
    """Our own fit (`bytecap`) and the published scheme at the same cap, by scheme: file, bytes, own_bytes (with the
    published steps, before they grew to fit), step_scale, compressor, bits_per_byte."""
    scores: dict[str, dict[str, Any]]
    """`before` and `after` fitting, `compared` of the other fit, and weights that training gave and did not export
    (`last`, `ema`), sliding as the recipe says; `before_plain` and `after_plain` with windows that do not overlap;
    `adapted`: the fitted file while it adapts, with strategy, settings and order, where the recipe says so.
    Each: bits_per_byte, nats, text_bytes, tokens, context, stride, seconds."""
    failed: dict[str, str]
    """Scores that could not be computed, and why; `adapted` where it diverged until it was not finite."""
    compressors: dict[str, dict[str, float]]
    """Bits per byte of the same text: `whole` as one file, `per_document` as the sum over documents; and the `sample`
    of the text that they are of."""
    sample: dict[str, str]
    """`prompt`, the beginning of the first held-out document, and how the fitted model `continued` it."""
    files: dict[str, str]
    """Where things are, relative to the run folder."""

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return dataclasses.asdict(self)


def load_record(folder: Path) -> dict[str, Any]:
    """The record in `folder`; raises what `load_record_file` raises."""
    return load_record_file(folder / RECORD)


def load_record_file(path: Path) -> dict[str, Any]:
    """A record of this schema or an older one; DataError when it is no record or of a newer schema."""
    record = read_object(path, {"schema": int, "recipe_digest": str, "artifact": {"bytes": int}})
    if record["schema"] > SCHEMA:
        raise DataError(
            f"{path} has schema {record['schema']}, this version reads up to {SCHEMA}; use the version that "
            f"wrote it ({record.get('program')}), or choose another --out",
            path=str(path),
        )
    if (fits := record.pop(_FITS_FORMERLY, None)) is not None:
        record["fits"] = fits
    try:
        summary(record, str(path.parent))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"is damaged ({type(error).__name__}: {error})"
        why = f"{what}, which a record has"
        raise unusable_json(path, why) from error
    return record


def record_fault(record: dict[str, Any], recipe: Recipe, folder: Path) -> str | None:
    """Why `record` does not speak of this recipe and of the file in `folder`; None where it does."""
    path = folder / MODEL
    if record["recipe_digest"] not in recipe.known_digests:
        return f"{folder / RECORD} is of another recipe, of digest {record['recipe_digest']}"
    if not path.is_file():
        return f"{path} is missing"
    data, recorded = path.read_bytes(), record["artifact"].get("digest")
    if recorded is None and (folder / SCORE).exists():  # schema 1
        recorded = read_object(folder / SCORE, {"artifact": str})["artifact"]
    if len(data) == record["artifact"]["bytes"] and recorded in (None, digest_bytes(data)):
        return None
    return f"{path} is not the file that {RECORD} speaks of, {record['artifact']['bytes']:,} bytes of digest {recorded}"


def corpus_summary(tokens: Tokens, validation_bytes: int) -> dict[str, Any]:
    """The record's table on the text."""
    return {
        "name": tokens.corpus,
        "digest": tokens.corpus_digest,
        "validation_digest": tokens.file_digests.get(tokens.validation_text or ""),
        "train_tokens": tokens.train_tokens,
        "validation_tokens": tokens.validation_tokens,
        "validation_bytes": validation_bytes,
        "vocab_size": tokens.vocab_size,
        "document_length": tokens.document_length,
        "skipped": tokens.skipped,
    }


def model_summary(artifact: Artifact) -> dict[str, Any]:
    """The record's table on the model."""
    by_role: dict[str, int] = {}
    for tensor in artifact.quantized.tensors.values():
        by_role[tensor.role] = by_role.get(tensor.role, 0) + math.prod(tensor.shape)
    return {"parameters": artifact.quantized.weights, "by_role": by_role, **_resolved_blocks(artifact.spec)}


def _resolved_blocks(spec: ModelSpec | None) -> dict[str, Any]:
    if spec is None:
        return {}
    with torch.device("meta"):
        visits = Techniques(spec).order(list(range(spec.n_layers)))
    return {"techniques": {n: list(its.selected_blocks(spec)) for n, its in spec.techniques.items()}, "visits": visits}


def training_summary(done: TrainingState, tokens: Tokens) -> dict[str, Any]:
    """The record's table on the training."""
    return {
        "steps": done.step,
        "tokens": done.tokens,
        "tokens_per_second": done.tokens / done.seconds,
        "epochs": done.tokens / tokens.train_tokens,
        "loss_nats_per_token": done.loss,
        "compile_seconds": done.compile_seconds,
        "matmul_precisions": list(done.matmul_precisions),
        "attention": list(done.attention),
    }


def artifact_summary(artifact: Artifact, folder: Path) -> dict[str, Any]:
    """The record's table on the file and on the fit that made it."""
    path = report_path(folder / MODEL)
    fit = read_report(path)
    if fit["cap_bytes"] is None or fit["bytes"] != artifact.size_bytes:
        raise unusable_json(path, f"is not the report of the fit that made {MODEL}")
    return {
        "bytes": artifact.size_bytes,
        "digest": digest_bytes(artifact.data),
        **{name: fit[name] for name in ("cap_bytes", "reserve_bytes", "unused_bytes")},
        "bits_per_weight": bits_per_weight(artifact.size_bytes, artifact.quantized.weights),
        **{name: fit[name] for name in ("step_scale", "predicted_bytes", "predicted_increase_nats")},
        "sections": {"header": artifact.header_bytes, **{size.name: size.stored for size in artifact.sizes}},
    }
