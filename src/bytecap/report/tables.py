"""Numbers as lines of text.

In:   a run record (JSON values), or rows.
Out:  text for a terminal.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from bytecap.core.terminal import visible_line

_NAMED_SCORES = ("before", "after", "compared", "before_plain", "after_plain", "adapted")
"""Scores that have a line of their own; others are of weights that training gave and did not export."""


def columns(rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    """Rows as aligned columns; `right` holds an `r` at the place of each column set flush right."""
    rows = [[visible_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right[i : i + 1] == "r" else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def small(value: float, sign: str = "") -> str:
    """A number with five decimals, or with two digits where five decimals would show fewer.

    >>> small(0.01234), small(0.0000071), small(-0.000002, "+"), small(0.0)
    ('0.01234', '7.1e-06', '-2.0e-06', '0.00000')
    """
    return format(value, f"{sign}.5f" if abs(value) >= 1e-4 or value == 0 else f"{sign}.1e")


def paragraph(text: str, head: str) -> str:
    """A text of any length in lines of at most 100 letters, `head` before the first and blanks before the others."""
    return textwrap.fill(
        visible_line(text), width=100, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def summary(record: dict[str, Any], folder: str) -> str:
    """The end of a run on one screen."""
    training, artifact, scores = record["training"], record["artifact"], record["scores"]
    after, plain = scores["after"], scores["after_plain"]
    report = [
        ("text", f"{record['corpus']['name']}, digest {record['corpus']['digest']}"),
        ("model", f"{record['model']['parameters']:,} parameters"),
        (
            "training",
            f"{training['tokens']:,} tokens ({training['epochs']:.2f} epochs) in {training['steps']:,} steps, "
            f"{training['tokens_per_second']:,.0f} tokens/s",
        ),
        (
            "file",
            f"{artifact['bytes']:,} of {artifact['cap_bytes']:,} bytes ({artifact['unused_bytes']:,} unused), "
            f"{artifact['bits_per_weight']:.2f} bits per weight",
        ),
        ("seconds", "  ".join(f"{stage} {seconds:.1f}" for stage, seconds in record["seconds"].items())),
    ]
    compressors = record["compressors"]
    bits = [["bits per byte", "whole", "each document alone"]]
    for name in compressors.get("whole", ()):
        bits.append([name, *(f"{compressors[way][name]:.4f}" for way in ("whole", "per_document"))])
    sample = compressors.get("sample")  # records of schema 1 have none
    if sample is not None and sample["documents"] < sample["of_documents"]:
        bits[0][1:] = ["sample as one", f"{sample['documents']:,} of {sample['of_documents']:,} documents alone"]
    note = f"context {after['context']}, stride {after['stride']}"
    bits += [
        ["before fitting", "", f"{scores['before']['bits_per_byte']:.4f}   ({note})"],
        ["after fitting", "", f"{after['bits_per_byte']:.4f}   ({note})"],
        ["after, plain windows", "", f"{plain['bits_per_byte']:.4f}   (context {plain['context']}, no overlap)"],
        *_adapted_rows(record),
        *_fit_rows(record),
        *(
            [f"{name} weights, not fitted", "", f"{score['bits_per_byte']:.4f}   ({note})"]
            for name, score in scores.items()
            if name not in _NAMED_SCORES
        ),
    ]
    files = [[path, what] for what, path in record["files"].items()]
    return "\n\n".join(
        [
            columns([[name, value] for name, value in report]),
            columns(bits),
            f"a sample: it goes on after {record['sample']['prompt']!r} with\n"
            + _indented(record["sample"]["continued"]),
            f"files in {folder}\n" + _indented(columns(files)),
        ]
    )


def _adapted_rows(record: dict[str, Any]) -> list[list[str]]:
    """The score of the file while it adapts, in addition to that of the file alone; most records have none."""
    rows = [["after, adapting", "", f"not a number: {why}"] for why in record.get("failed", {}).values()]
    if score := record["scores"].get("adapted"):
        fault = "; DIVERGED" if score.get("fault") else ""
        said = f"by {', '.join(score['adapt'])}; {score['seconds']:.1f} s{fault}"
        rows.append(["after, adapting", "", f"{score['bits_per_byte']:.4f}   ({said})"])
    return rows


def _fit_rows(record: dict[str, Any]) -> list[list[str]]:
    """The fits of a run at the same cap, where it made more than one; older records have none."""
    found: dict[str, dict[str, Any]] = record.get("fits", {})
    rows = []
    for scheme, fit in found.items():
        note = f"{fit['bytes']:,} bytes"
        if (fit["own_bytes"] or 0) > fit["bytes"]:
            note += f"; {fit['own_bytes']:,} with its own steps, which had to grow {fit['step_scale']:.3f} times"
        rows.append([f"fitted by {scheme}", "", f"{fit['bits_per_byte']:.4f}   ({note})"])
    return rows if len(rows) > 1 else []


def tensor_table(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each tensor, as in `tensors` of `bytecap inspect --json`, and their sum."""
    heading = ("tensor", "role", "shape", "format", "bits/weight", "coded bytes", "of the file", "of the loss")
    cells = [
        (
            row["name"], row["role"], "x".join(map(str, row["shape"])), row["format"],
            "" if row["bits_per_weight"] is None else f"{row['bits_per_weight']:.3f}", f"{row['coded_bytes']:,}",
            f"{100 * row['share']:.2f} %", f"{100 * row['loss_share']:.2f} %" if row["loss_share"] else "",
        )
        for row in rows
    ]  # fmt: skip
    size, share, loss = (sum(row[key] or 0 for row in rows) for key in ("coded_bytes", "share", "loss_share"))
    last = ("total", "", "", "", "", f"{size:,}", f"{100 * share:.2f} %", f"{100 * loss:.2f} %" if loss else "")
    return columns([heading, *cells, last], right="llllrrrr")


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
