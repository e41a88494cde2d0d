"""What each peer is asked for: its settings, and for each the variants of which the best counts.

In:   the weights of the checkpoint.
Out:  a Peer for each tool.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Variants = list[dict[str, Any]]


@dataclass(frozen=True)
class Peer:
    """One tool: its settings, each with variants of which the best counts."""

    settings: dict[str, Variants]
    blocks: bool = False
    """Whether it quantizes block matrices only."""


def nncodec_settings(weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, Variants]:
    """Near 2.5, 3, 4 and 5 bits; the step doubles every 4 of the QP, and QP 0 is a step of 1."""
    rms = {n: 4 * math.log2(float(np.sqrt(np.mean(w.astype(np.float64) ** 2)))) for n, w in weights.items()}
    middle = float(np.average(list(rms.values()), weights=[w.size for w in weights.values()]))
    settings = {}
    for rate, offset in (("2.5", -5), ("3", -7), ("4", -11), ("5", -15)):
        common = {"qp": round(middle + offset), "vector_qp": -51}
        variants: Variants = [common, common | {"opt_qp": True}]
        for relative, finer in itertools.product((False, True), (0, 4, 8)):
            each = {n: round((rms[n] if relative else middle) + offset) for n in weights}
            if "embedding" in each:
                each["embedding"] -= finer
            elif finer:
                continue
            variants.append(common | {"qp_per_tensor": each, "lambda_scale": 0.5, "finer": finer, "follow": relative})
        settings[f"QP for about {rate} bits"] = variants
    return settings


def hqq_settings() -> dict[str, Variants]:
    """Bits and group, axis and bits of the embedding as variants."""
    settings = {}
    for bits, group in ((8, 128), (4, 64), (3, 64), (2, 32)):
        above = sorted({bits, min(bits + 1, 8), min(bits + 2, 8)})
        settings[f"{bits} bits, group {group}"] = [
            {"nbits": bits, "group": group, "axis": axis, "embedding": embedding}
            for axis, embedding in itertools.product((0, 1), above)
        ]
    return settings


def torchao_settings() -> dict[str, Variants]:
    """Bits and group, the way to choose scales and the embedding's bits as variants."""
    settings = {}
    for bits, group in ((8, 0), (5, 64), (4, 64), (3, 32), (2, 32)):
        ways = [
            ("SYMMETRIC", "AFFINE"),
            ("ASYMMETRIC", "AFFINE"),
            *([("SYMMETRIC", "HQQ_SCALE_ONLY")] if group else []),
        ]
        settings[f"int{bits}, " + (f"group {group}" if group else "rows")] = [
            {"bits": bits, "group": group, "mapping": mapping, "algorithm": algorithm, "embedding": embedding}
            for (mapping, algorithm), embedding in itertools.product(ways, sorted({bits, min(bits + 1, 8)}))
        ]
    return settings


def gguf_settings(kinds: dict[str, tuple[str, ...]], importance: tuple[bool, ...]) -> dict[str, Variants]:
    """A type, and as variants the types of the embedding, with and without importance matrix."""
    return {
        kind: [
            {"type": kind, "embedding": embedding, "importance": use}
            for embedding, use in itertools.product((kind, *finer), importance)
        ]
        for kind, finer in kinds.items()
    }


LEGACY = {"Q8_0": (), "Q5_1": ("Q8_0",), "Q5_0": ("Q8_0",), "Q4_1": ("Q5_1", "Q8_0"), "Q4_0": ("Q5_0", "Q8_0")}
GGML = {
    "Q8_0": (), "Q5_0": ("Q8_0",), "Q4_0": ("Q5_0", "Q8_0"), "IQ4_NL": ("Q5_0", "Q8_0"), "Q6_K": ("Q8_0",),
    "Q5_K": ("Q6_K", "Q8_0"), "Q4_K": ("Q5_K", "Q6_K"), "IQ4_XS": ("Q5_K", "Q6_K"), "Q3_K": ("Q4_K", "Q6_K"),
    "IQ3_S": ("Q4_K", "Q6_K"), "Q2_K": ("Q4_K", "Q6_K"),
}  # fmt: skip


def make_peers(weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, Peer]:
    """Every tool that is compared."""
    gptq = {
        f"{bits} bits, group {group}": [
            {"bits": bits, "group": group, "order": order, "symmetric": symmetric}
            for order, symmetric in ((False, True), (True, True), (True, False))
        ]
        for bits, group in ((8, 128), (4, 64), (3, 64), (2, 32))
    }
    rounds = {
        f"{bits} bits, group {group}": [
            {"bits": bits, "group": group, "symmetric": symmetric, "iterations": 200} for symmetric in (True, False)
        ]
        for bits, group in ((4, 64), (3, 64), (2, 32))
    }
    return {
        "nncodec": Peer(nncodec_settings(weights)),
        "gguf": Peer(gguf_settings(LEGACY, (False,))),
        "ggml": Peer(gguf_settings(GGML, (False, True))),
        "hqq": Peer(hqq_settings()),
        "torchao": Peer(torchao_settings()),
        "gptqmodel": Peer(gptq, blocks=True),
        "autoround": Peer(rounds, blocks=True),
    }
