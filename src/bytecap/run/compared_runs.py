"""Finished runs as a comparison needs them: read, and refused by name where they cannot be compared.

In:   paths of run folders or record.json files.
Out:  ComparedRun objects of one side; errors for runs of other settings, of other held-out text, or given twice.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import ConfigError, DataError, nearest
from bytecap.core.files import read_json, read_object
from bytecap.core.units import counted
from bytecap.run.claims import claim_contradictions
from bytecap.run.folder import RECORD, SCORE, SEED_FOLDER, differences, is_description
from bytecap.run.record import load_record_file

UNITS = ("bits_per_byte", "nats_per_token")
"""The two units of every score; nats per token compare only between equal tokenizers."""
_SEED = "run.seed"
_SCORE = {"bits_per_byte": float, "nats": float, "text_bytes": int, "tokens": int, "seconds": float}
_RECORD = {
    "recipe": {"run": {"seed": int}},
    "corpus": {"name": str, "digest": str, "vocab_size": int, "validation_bytes": int},
    "hardware": {"device": str, "name": str, "threads": int, "torch": str},
    "training": {"steps": int, "tokens": int, "tokens_per_second": float},
    "artifact": {"bytes": int, "cap_bytes": int},
    "seconds": {"train": float},
    "scores": {...: _SCORE, "before": {"context": int, "stride": int}},
}
"""The fields that are read from a record."""
_DOCUMENTS = {"artifact": str, "documents": {"bytes": [int], "tokens": [int], "nats": {...: [float]}}}


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run, by one of the scores in its record."""

    path: Path
    record: dict[str, Any]
    score: dict[str, Any]
    """The score that is compared, such as `after`."""
    documents: dict[str, npt.NDArray[Any]] | None
    """`nats`, `bytes` and `tokens` of each held-out document; None if `score.json` is not there or older."""

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.record["recipe"]["run"]["seed"])

    @property
    def bits_per_byte(self) -> float:
        """The score in bits per byte."""
        return float(self.score["bits_per_byte"])

    @property
    def nats_per_token(self) -> float:
        """The score in nats per target."""
        return float(self.score["nats"]) / int(self.score["tokens"])

    @property
    def checkpoint(self) -> str:
        """What is equal, to the last bit, for two fits or two ways of scoring of one checkpoint."""
        before = self.record["scores"]["before"]
        return f"{self.record['training']['tokens']} {before['nats']!r} {before['context']} {before['stride']}"

    def to_json(self) -> dict[str, Any]:
        """One row of the table of runs."""
        training, artifact, hardware = (self.record[key] for key in ("training", "artifact", "hardware"))
        seconds = float(self.record["seconds"]["train"])
        return {
            "path": str(self.path), "seed": self.seed, "bits_per_byte": self.bits_per_byte,
            "nats_per_token": self.nats_per_token, "bytes": artifact["bytes"], "cap_bytes": artifact["cap_bytes"],
            "train_seconds": seconds, "steps": training["steps"], "train_tokens": training["tokens"],
            "step_milliseconds": 1000 * seconds / max(1, training["steps"]),
            "tokens_per_second": training["tokens_per_second"], "score_seconds": self.score["seconds"],
            "hardware": describe_hardware(hardware),
        }  # fmt: skip


def describe_hardware(hardware: dict[str, Any]) -> str:
    """Device, threads, processes and torch in one phrase."""
    processes = hardware.get("processes", 1)
    many = f", {processes} processes" if processes != 1 else ""
    threads = counted(hardware["threads"], "thread")
    return f"{hardware['name']} ({hardware['device']}), {threads}{many}, torch {hardware['torch']}"


def read_runs(paths: Sequence[Path], side: str) -> list[ComparedRun]:
    """The runs of one side, by `after`; ConfigError where they differ in more than the seed or one is given twice."""
    if not paths:
        raise ConfigError(f"{side} names no run; give run folders or record.json files")
    runs = [_read_run(path) for given in paths for path in _seed_folders(given)]
    _refuse_twice(runs, side)
    for run in runs[1:]:
        keys = [key for key in changed_settings(runs[0], run) if key != _SEED]
        if keys:
            raise ConfigError(
                f"{runs[0].path} and {run.path} differ in {', '.join(keys[:5])}{' ..' if len(keys) > 5 else ''}; the "
                f"runs of one side must differ in nothing but {_SEED}, so put them on two sides"
            )
    return runs


def refuse_both_sides(runs: Sequence[ComparedRun], against: Sequence[ComparedRun]) -> None:
    """Raise a ConfigError that names a run which is on both sides, whether as a folder or as its record."""
    records = {_record_file(run.path).resolve() for run in against}
    for run in runs:
        if _record_file(run.path).resolve() in records:
            raise ConfigError(
                f"{run.path} is on both sides; a run does not differ from itself, so give other runs behind --against"
            )


def summarize_runs(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Runs as rows, with mean and spread of their scores; the spread is the sample's standard deviation."""
    found: dict[str, Any] = {"runs": [run.to_json() for run in runs]}
    for unit in UNITS:
        values = [getattr(run, unit) for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else None
        found[unit] = {"mean": statistics.fmean(values), "spread": spread, "runs": len(values)}
    return found


def changed_settings(one: ComparedRun, other: ComparedRun) -> list[str]:
    """Dotted names of the settings in which two runs differ, without descriptions."""
    found = differences(one.record["recipe"], other.record["recipe"])
    return [key for key in found if not is_description(key)]


def refuse_other_text(runs: Sequence[ComparedRun]) -> None:
    """Raise a DataError that names both texts where the runs were not scored on the same held-out text."""
    first = runs[0].record["corpus"]
    for run in runs[1:]:
        corpus = run.record["corpus"]
        held_out = corpus.get("validation_digest")
        if corpus["digest"] != first["digest"] and (held_out is None or held_out != first.get("validation_digest")):
            raise DataError(
                f"{runs[0].path} was scored on {_text(first)}, and {run.path} on {_text(corpus)}; scores on different "
                "held-out text do not compare, so score both on one text, with the same --text and --set text.…",
                digests=f"{first['digest']} {corpus['digest']}",
            )


def _text(corpus: dict[str, Any]) -> str:
    held_out = corpus.get("validation_digest")
    more = f", held-out text {held_out}" if held_out else ""
    return f"{corpus['validation_bytes']:,} held-out bytes of {corpus['name']} (corpus digest {corpus['digest']}{more})"


def _seed_folders(path: Path) -> list[Path]:
    """The runs that a folder of `bytecap run --seeds` holds, in the order of their seeds, or the path itself."""
    if path.is_dir() and not (path / RECORD).exists():
        found = [folder for folder in path.glob(f"{SEED_FOLDER}*") if (folder / RECORD).exists()]
        return sorted(found, key=lambda folder: (len(folder.name), folder.name)) or [path]
    return [path]


def with_score(run: ComparedRun, name: str) -> ComparedRun:
    """The same run by another score of its record; ConfigError where it has none of that name."""
    scores = run.record["scores"]
    if name not in scores:
        raise ConfigError(
            f"{run.path} has no score {name!r}{nearest(name, scores)}; it has {', '.join(sorted(scores))}",
            path=str(run.path),
        )
    if not (math.isfinite(scores[name]["bits_per_byte"]) and scores[name]["tokens"] > 0):
        raise DataError(
            f"score {name!r} of {run.path} is {scores[name]['bits_per_byte']} bits per byte over "
            f"{scores[name]['tokens']} tokens, which nothing compares with; score the run again, or choose another "
            "--score",
            path=str(run.path),
        )
    documents = read_document_sums(_record_file(run.path).parent / SCORE, run.record, name)
    return ComparedRun(path=run.path, record=run.record, score=scores[name], documents=documents)


def _record_file(path: Path) -> Path:
    return path / RECORD if path.is_dir() else path


def _is_record(file: Path) -> bool:
    """Tell whether a file of another name is a record: `score.json` is none, and must not be called a damaged one."""
    if file.suffix != Path(RECORD).suffix:
        return False
    value = read_json(file)
    return isinstance(value, dict) and "schema" in value


def _read_run(path: Path) -> ComparedRun:
    file = _record_file(path)
    if not file.is_file() or (file.name != RECORD and not _is_record(file)):
        raise DataError(
            f"{file} {'is no record' if file.is_file() else 'does not exist'}; give the folder of a finished run, or "
            f"its {RECORD} (`bytecap run --out FOLDER` finishes the run in a folder)",
            path=str(file),
        )
    record = {**load_record_file(file), **read_object(file, _RECORD)}
    if contradictions := claim_contradictions(record, file.parent / SCORE):
        raise DataError(
            f"{file} contradicts itself or {SCORE} beside it: {contradictions[0]}; it was changed after the run. Run "
            "the same `bytecap run` again, which makes it anew, or leave it out",
            path=str(file),
        )
    return with_score(ComparedRun(path=path, record=record, score={}, documents=None), "after")


def read_document_sums(path: Path, record: dict[str, Any], score: str) -> dict[str, npt.NDArray[Any]] | None:
    """The sums of each document, if `score.json` is there, of this record's file and of a version that has them."""
    if not path.is_file():
        return None
    saved = read_object(path, {"artifact": str})
    if "documents" not in saved or saved["artifact"] != record["artifact"].get("digest"):
        return None
    by_document = read_object(path, _DOCUMENTS)["documents"]
    if score not in by_document["nats"]:
        return None
    found = {"nats": by_document["nats"][score], **{key: by_document[key] for key in ("bytes", "tokens")}}
    if len({len(values) for values in found.values()}) > 1:
        raise DataError(f"{path} has not as many nats as documents; delete it and run the command again that made it")
    return {key: np.array(values) for key, values in found.items()}


def _refuse_twice(runs: Sequence[ComparedRun], side: str) -> None:
    """One file counted as two runs would make the spread too small."""
    digests = Counter(run.record["artifact"].get("digest") for run in runs)
    paths = Counter(run.path.resolve() for run in runs)
    twice = [run for run in runs if paths[run.path.resolve()] > 1]
    twice += [
        run for run in runs if run.record["artifact"].get("digest") and digests[run.record["artifact"]["digest"]] > 1
    ]
    if twice:
        names = " and ".join(str(run.path) for run in twice[:2])
        raise ConfigError(f"{side} counts one file as two runs: {names} hold the same; give each run once")
