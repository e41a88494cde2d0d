"""What is known about a fit, as JSON values: the same fields whoever asked for it. docs/fit_report.md names them.

In:   a FitResult with its file, and held-out text where there is a model to run.
Out:  a FitReport; the report beside a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytecap.artifact.inspect import tensor_report
from bytecap.artifact.load import Artifact
from bytecap.core.budget import FileBudget
from bytecap.core.files import read_object, shape_fault, unusable_json
from bytecap.core.units import bits_per_byte, bits_per_weight
from bytecap.fitting.measure import comparison_windows
from bytecap.fitting.result import FitResult
from bytecap.fitting.source import WeightSource
from bytecap.scoring.divergence import Divergence, divergence, gpt_logits
from bytecap.text.shards import TokenStream

FitReport = dict[str, Any]

COMPARED_TOKENS, MIN_COMPARED = 16_384, 64
"""Positions on which the fitted model is compared with the original, and how many there must be."""
HELD_OUT_SHARE = 10
"""One part in ten of a given text is kept for the comparison."""
_SHAPE = {
    "bytes": int, "cap_bytes": int | None, "reserve_bytes": int, "unused_bytes": int | None, "predicted_bytes": int,
    "predicted_increase_nats": float | None, "step_scale": float, "source_digest": str, "loss_shares": {...: float},
    "scheme": str, "roundings": float,
}  # fmt: skip
"""What is asked of a report that is read; reports have more."""
_DIVERGENCE = {"kl": float, "kl_interval": float, "loss_before": float, "loss_after": float, "increase_interval": float}
_ROW = {
    "name": str, "role": str, "shape": [int], "format": str, "bits_per_weight": float | None, "coded_bytes": int,
    "share": float, "loss_share": float | None,
}  # fmt: skip
_SINCE_0_2: dict[str, tuple[Any, Any]] = {
    "bits_per_weight": (None, float | None), "seconds": (None, float | None),
    "divergence": (None, (type(None), _DIVERGENCE)), "bits_per_byte": (None, (type(None), _DIVERGENCE)),
    "tensors": ([], [_ROW]), "own_bytes": (None, int | None),
}  # fmt: skip
"""Fields that reports of bytecap 0.1 lack, with what they are then and their shape."""
_RENAMED = {"kappa": "step_scale", "made_from": "source_digest"}
"""Fields of reports that bytecap 0.1 wrote, with their names of today."""


@dataclass(frozen=True)
class Comparison:
    """Held-out tokens on which a fitted model is compared with its original."""

    stream: TokenStream
    bos: int
    context: int
    bytes_per_token: float | None
    """Mean bytes of text for each token, where that is known."""

    def measure(self, source: WeightSource, artifact: Artifact) -> Divergence | None:
        """KL divergence and loss on evenly spaced windows; None without a model or with too little text."""
        if source.model is None or len(self.stream) < MIN_COMPARED:
            return None
        original = source.model.eval()
        device = next(original.parameters()).device
        windows = comparison_windows(self.stream, tokens=COMPARED_TOKENS, context=self.context, device=device)
        fitted = artifact.model().to(device)
        return divergence(gpt_logits(original, self.bos), gpt_logits(fitted, self.bos), windows)


def make_report(
    result: FitResult,
    artifact: Artifact,
    budget: FileBudget | None,
    found: Divergence | None,
    comparison: Comparison | None,
    seconds: float,
) -> FitReport:
    """The report of one fit; what is not known is None."""
    whole = sum(result.losses.values()) or 1.0
    shares = {name: loss / whole for name, loss in result.losses.items()}
    return {
        "scheme": result.plan.scheme,
        "bytes": len(result.data),
        "cap_bytes": None if budget is None else budget.cap_bytes,
        "reserve_bytes": 0 if budget is None else budget.reserve_bytes,
        "unused_bytes": None if budget is None else budget.file_bytes - len(result.data),
        "bits_per_weight": bits_per_weight(len(result.data), result.model.weights),
        "own_bytes": result.own_bytes,
        "predicted_bytes": result.predicted_bytes,
        "predicted_increase_nats": result.loss,
        "step_scale": result.plan.step_scale,
        "roundings": result.roundings,
        "seconds": seconds,
        "source_digest": result.plan.source_digest,
        "divergence": None if found is None else found.to_json(),
        "bits_per_byte": _in_bits(found, None if comparison is None else comparison.bytes_per_token),
        "loss_shares": shares,
        "tensors": tensor_report(artifact, shares),
    }


def report_path(model: Path) -> Path:
    """Where the report of a fit lies: `small.fit.json` beside `small.bcap`."""
    return model.with_name(f"{model.name.removesuffix('.bcap')}.fit.json")


def read_report(path: Path) -> FitReport:
    """The report at `path`, also one that an older version wrote; DataError where it is none."""
    value = read_object(path, {})
    report = {name: missing for name, (missing, _) in _SINCE_0_2.items()}
    report |= {_RENAMED.get(name, name): entry for name, entry in value.items()}
    shape = _SHAPE | {name: kind for name, (_, kind) in _SINCE_0_2.items()}
    if (fault := shape_fault(report, shape, "the whole")) is not None:
        raise unusable_json(path, f"is not the report of a fit ({fault})")
    if (report["cap_bytes"] is None) != (report["unused_bytes"] is None):
        raise unusable_json(path, "is not the report of a fit (a cap without unused bytes, or the other way round)")
    return report


def loss_shares(model: Path, source_digest: str | None) -> Mapping[str, float]:
    """Each tensor's share of the predicted loss from the report beside a file; empty where there is none.

    Raises DataError for a report that cannot be read. One of another checkpoint says nothing about this file.
    """
    path = report_path(model)
    if not path.is_file():
        return {}
    report = read_report(path)
    if report.get("source_digest") != source_digest:
        return {}
    shares: Mapping[str, float] = report["loss_shares"]
    return shares


def _in_bits(found: Divergence | None, bytes_per_token: float | None) -> dict[str, float] | None:
    """The divergence again, in bits per byte of text, where the bytes of a token are known."""
    if found is None or bytes_per_token is None:
        return None
    values = found.to_json()
    names = ("kl", "kl_interval", "loss_before", "loss_after", "increase_interval")
    return {name: bits_per_byte(values[name], 1) / bytes_per_token for name in names}
