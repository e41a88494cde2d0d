"""The digest that version 0.1.0 gave to a recipe: frozen, so that its checkpoints and files are known again.

In:   a Recipe.
Out:  the digest of every setting of 0.1.0, or None where a setting was not there yet.
"""

from __future__ import annotations

import copy
from typing import Any

from bytecap.core.digest import digest_json
from bytecap.core.settings_writer import to_canonical, to_full

DEFAULTS: dict[str, Any] = {
    "run": {"summary": "", "base": None, "recipe": "", "track": "", "seed": 0},
    "source": {"url": "", "date": "", "claimed_bpb": None, "status": "partial", "missing": []},
    "text": {
        "paths": [], "validation_paths": [], "field": "text", "strict": False, "document_length": None,
        "validation_fraction": 0.05, "validation_bytes": 1_000_000, "tokenizer": None, "lossy_tokenizer": False,
        "vocab_size": 1024, "tokenizer_sample_bytes": 8_000_000, "shards": None, "shard_tokens": 100_000_000,
    },
    "model": {
        "n_layers": 9, "d_model": 512, "n_heads": 8, "n_kv_heads": 4, "d_ff": 1024, "rope_base": 10_000.0,
        "qk_gain": 1.5, "logit_softcap": 30.0, "embedding_std": 0.005, "techniques": ["unet_skips", "residual_mix"],
        "across_documents": False,
    },
    "train": {
        "seconds": 600.0, "steps": None, "batch": 16, "micro_batch": None, "context": 256, "checkpoint_seconds": 30.0,
        "compile": True,
        "optimizer": {
            "matrix_lr": 0.04, "embedding_lr": 0.05, "scalar_lr": 0.04, "matrix_weight_decay": 0.0, "momentum": 0.95,
            "momentum_start": 0.85, "momentum_warmup": 0.1, "newton_schulz_steps": 5, "adam_betas": [0.9, 0.95],
            "warmup": 0.0, "warmdown": 0.5, "floor": 0.0,
        },
    },
    "quant": {
        "calibration_tokens": 65_536, "labels": "model", "damping": 0.01, "embedding_damping": 0.001,
        "two_sided": True, "states": 0, "rate": 0.1, "distill_steps": 0,
    },
    "artifact": {"cap_bytes": 16_000_000, "reserve_bytes": 0, "compressor": "brotli", "embed_tokenizer": True},
    "score": {"context": None, "stride": 64, "batch_tokens": 8_192},
}  # fmt: skip
"""Every setting of 0.1.0, under its name there, with its default there."""


def digest_0_1(recipe: Any) -> str | None:
    """The digest of 0.1.0; None for a recipe with a setting that 0.1.0 did not know."""
    changed = to_canonical(recipe)
    changed["source"] = {key: value for key, value in to_full(recipe.source).items() if key in DEFAULTS["source"]}
    changed.setdefault("run", {})["summary"] = recipe.run.summary
    techniques = changed.get("model", {}).get("techniques", [])
    if any(isinstance(entry, list) and entry[1] for entry in techniques):
        return None  # settings of a technique of its own
    if techniques:
        changed["model"]["techniques"] = [entry[0] if isinstance(entry, list) else entry for entry in techniques]
    whole = copy.deepcopy(DEFAULTS)
    return digest_json(whole) if _overlaid(whole, changed) else None


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> bool:
    """Put `above` into `below`; returns whether every key was there."""
    for key, value in above.items():
        if key not in below:
            return False
        if isinstance(value, dict) and isinstance(below[key], dict):
            if not _overlaid(below[key], value):
                return False
        else:
            below[key] = value
    return True
