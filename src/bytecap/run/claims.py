"""Checks that the figures which a run claims follow from each other, as those do that this program has written.

In:   a record, and what `score.json` holds.
Out:  a sentence for each figure that contradicts another; none where all agree.

Nothing is computed again from a model here; that is what an audit does (docs/audit.md, C2b).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bytecap.core.files import read_object, shape_fault
from bytecap.core.units import bits_per_byte
from bytecap.scoring.documents import DECIMALS

_SUMS = {"nats": float, "text_bytes": int, "tokens": int}
"""What a score adds up over the text."""
_SCORES = {...: {"bits_per_byte": float, **_SUMS}}
_DOCUMENTS = {"bytes": [int], "tokens": [int], "nats": {...: [float]}}


def claim_contradictions(record: Mapping[str, Any], score_file: Path) -> list[str]:
    """Contradictions in a record, in the `score.json` of the same file where it is available, and between the two.

    DataError where the file is no JSON object.
    """
    fault = shape_fault(record, {"scores": _SCORES, "artifact": {"bytes": int}}, "the record")
    if fault is not None:
        return [fault]
    found = [*_of_scores(record["scores"]), *_of_artifact(record["artifact"])]
    text_bytes = record["scores"]["after"]["text_bytes"] if "after" in record["scores"] else None
    if text_bytes not in (None, known := record.get("corpus", {}).get("validation_bytes")):
        found.append(f"corpus.validation_bytes is {known}, and after was scored on {text_bytes:,}")
    saved = read_object(score_file, {}) if score_file.is_file() else {}
    if not saved or saved.get("artifact") != record["artifact"].get("digest", saved.get("artifact")):
        return found
    if own := score_contradictions(saved):
        return found + own
    for name, score in saved["scores"].items():
        recorded = record["scores"].get(name, score)
        for key in _SUMS:
            if recorded[key] != score[key] and not math.isnan(score[key]):
                found.append(f"{key} of {name} is {recorded[key]:,} in the record and {score[key]:,} in the score")
    return found


def score_contradictions(saved: Mapping[str, Any]) -> list[str]:
    """Contradictions in `score.json` alone: its scores, and the sums over documents, where it has them."""
    documents = saved.get("documents") or {}
    fault = shape_fault(saved, {"scores": _SCORES, **({"documents": _DOCUMENTS} if documents else {})}, "the score")
    if fault is not None:
        return [fault]
    found = _of_scores(saved["scores"])
    for name, nats_D in documents.get("nats", {}).items():
        sums = {"nats": math.fsum(nats_D), "text_bytes": sum(documents["bytes"]), "tokens": sum(documents["tokens"])}
        for key, by_document in sums.items() if name in saved["scores"] else ():
            whole, rounding = saved["scores"][name][key], 10.0**-DECIMALS * len(nats_D)
            if abs(by_document - whole) > rounding + 1e-9 * abs(whole):
                found.append(f"{key} of {name} is {whole:,}, and that of its documents adds up to {by_document:,}")
    return found


def _of_scores(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for name, score in scores.items():
        given, bits = score["bits_per_byte"], bits_per_byte(score["nats"], max(1, score["text_bytes"]))
        if abs(given - bits) > 1e-9 * abs(bits):  # false where either is no number, which is told elsewhere
            found.append(f"{name} is given as {given:.6f} bits per byte, and its nats over its bytes are {bits:.6f}")
    return found


def _of_artifact(artifact: Mapping[str, Any]) -> list[str]:
    """The unused bytes under the cap are those of the file."""
    keys = ("cap_bytes", "reserve_bytes", "unused_bytes")
    if not all(isinstance(artifact.get(key), int) for key in keys):
        return []
    unused = artifact["cap_bytes"] - artifact["reserve_bytes"] - artifact["bytes"]
    if unused == artifact["unused_bytes"]:
        return []
    return [f"artifact.unused_bytes is {artifact['unused_bytes']:,}, and under its cap {unused:,} are unused"]
