"""A run so small that it takes seconds, through the command line, for every test that needs one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bytecap.commands.app import main
from bytecap.core.units import bits_per_byte

SETTINGS = {
    "text.vocab_size": 300, "text.validation_fraction": 0.3,
    "model.n_layers": 2, "model.d_model": 16, "model.d_ff": 32,
    "train.steps": 40, "train.batch": 4, "train.context": 32, "train.checkpoint_seconds": 0.2,
    "train.matmul_precision": "float32",  # so that a run gives the same numbers on every processor
    "quant.states": 8, "quant.calibration_tokens": 2048,
    "artifact.cap_bytes": 9000,
    "score.stride": 8,
}  # fmt: skip


def arguments(corpus: Path, out: Path, **changes: Any) -> list[str]:
    sets = [f"--set={key}={value}" for key, value in {**SETTINGS, **changes}.items()]
    return ["run", "baseline", "--text", str(corpus), "--out", str(out), "--device", "cpu", *sets]


def call(*given: str | Path) -> int:
    """Exit code of one command."""
    try:
        main([str(g) for g in given])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def vary(finished: Path, out: Path, *, seed: int = 0, nats: float = 0.0, **changes: Any) -> Path:
    """A finished run's record and score in another folder, as of another seed: `nats` more for each document.

    `changes` are put into the record at dotted keys, `.` written as two underscores.
    """
    record, score = (json.loads((finished / name).read_text()) for name in ("record.json", "score.json"))
    documents, scores = score["documents"], record["scores"]
    documents["nats"] = {"after": [value + nats for value in documents["nats"]["after"]]}
    record["recipe"]["run"]["seed"] = seed
    scores["before"]["nats"] += 100 * seed + sum(map(ord, str(out.parent)))  # other weights
    scores["after"]["nats"] += nats * len(documents["bytes"])
    record["artifact"]["digest"] = score["artifact"] = f"{seed}-{nats}"
    for key, value in changes.items():
        *parents, last = key.split("__")
        table = record
        for parent in parents:
            table = table[parent]
        table[last] = value
    for its in scores.values():
        its["bits_per_byte"] = bits_per_byte(its["nats"], its["text_bytes"])
    artifact = record["artifact"]
    artifact["unused_bytes"] = artifact["cap_bytes"] - artifact["reserve_bytes"] - artifact["bytes"]
    score["scores"] = scores
    out.mkdir(parents=True)
    (out / "record.json").write_text(json.dumps(record))
    (out / "score.json").write_text(json.dumps(score))
    return out
