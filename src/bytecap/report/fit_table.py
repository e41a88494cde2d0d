"""What a fit reports, as lines of text.

In:   the report of one fit or several (JSON values).
Out:  text for a terminal; with several caps, the curve of bytes and loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bytecap.report.tables import columns, small, tensor_table

Report = dict[str, Any]
NO_CAP = "none"


def fit_summary(rows: Sequence[Report], curve: Sequence[str] = ()) -> str:
    """One fit with the bytes of its tensors; several, a line for each, and where their curve lies."""
    text = _one(rows[0]) if len(rows) == 1 else _many(rows)
    return f"{text}\n\nthe curve: {', '.join(curve)}" if curve else text


def prediction_table(rows: Sequence[Report]) -> str:
    """Cap, estimated size and predicted loss."""
    lines = [("cap", "estimated bytes", "predicted increase of the loss")]
    for row in rows:
        loss = row["predicted_increase_nats"]
        known = "not predicted: nothing was measured" if loss is None else f"{small(loss)} nats per token"
        lines.append((_cap(row), f"{row['predicted_bytes']:,}", known))
    note = "estimates are good to a percent or so; the fit itself goes on until its file is just under the cap"
    return f"{columns(lines, right='rrl')}\n\n{note}"


def _one(report: Report) -> str:
    """A report of an older version has no rows for its tensors and knows less."""
    bits_per_weight, seconds = report["bits_per_weight"], report["seconds"]
    rate = "" if bits_per_weight is None else f", {bits_per_weight:.3f} bits per weight"
    spent = "" if seconds is None else f"{seconds:.1f} for "
    lines = [
        ("file", report["file"]),
        ("scheme", report["scheme"]),
        ("bytes", f"{_size(report)}{rate}"),
        ("seconds" if spent else "work", f"{spent}{report['roundings']:.2f} passes over the weights"),
    ]
    found = report["divergence"]
    if found is not None:
        predicted, change = report["predicted_increase_nats"], found["loss_after"] - found["loss_before"]
        known = "" if predicted is None else f"; predicted +{small(predicted)}"
        lines += [
            ("KL to the original", f"{small(found['kl'])} ± {small(found['kl_interval'])} nats per token"),
            (
                "loss",
                f"{found['loss_before']:.5f} before, {found['loss_after']:.5f} after "
                f"({small(change, '+')} ± {small(found['increase_interval'])}{known})",
            ),
        ]
    bits = report["bits_per_byte"]
    if bits is not None:
        change = bits["loss_after"] - bits["loss_before"]
        known = f"KL {small(bits['kl'])}, loss {small(change, '+')} ± {small(bits['increase_interval'])}"
        lines.append(("bits per byte", known))
    if lost := report.get("no_bits_per_byte"):
        lines.append(("bits per byte", f"not given, for {lost}"))
    if report.get("tokenizer") == "outside":
        lines.append(("tokenizer", "outside the file, not counted; whoever reads the file needs it"))
    return "\n\n".join([*([tensor_table(report["tensors"])] if report["tensors"] else []), columns(lines)])


def _many(rows: Sequence[Report]) -> str:
    lines: list[tuple[str, ...]] = [("cap", "bytes", "unused", "bits per weight", "KL, nats per token", "seconds")]
    for report in rows:
        found = report["divergence"]
        kl = "unknown without text" if found is None else f"{small(found['kl'])} ± {small(found['kl_interval'])}"
        counts = (_cap(report), f"{report['bytes']:,}", f"{report['unused_bytes']:,}")
        lines.append((*counts, f"{report['bits_per_weight']:.3f}", kl, f"{report['seconds']:.1f}"))
    return columns(lines, right="rrrrlr")


def _size(report: Report) -> str:
    """Bytes, the cap, and what stays free under it; a scheme of its own size has no cap."""
    if report["cap_bytes"] is None:
        return f"{report['bytes']:,}"
    known = report["predicted_bytes"] != report["bytes"]  # a published scheme's size is not predicted
    predicted = f"; predicted {report['predicted_bytes']:,}" if known else ""
    reserved = f", {report['reserve_bytes']:,} reserved" if report["reserve_bytes"] else ""
    return f"{report['bytes']:,} of {report['cap_bytes']:,} ({report['unused_bytes']:,} unused{reserved}{predicted})"


def _cap(report: Report) -> str:
    return NO_CAP if report["cap_bytes"] is None else f"{report['cap_bytes']:,}"
