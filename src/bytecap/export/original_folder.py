"""A Hugging Face folder again, from the file that was made of it: its small files as they were, its weights fitted.

In:   an ExportSource of such a file.
Out:  the folder, with every tensor in the type that it had.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch

from bytecap.core.units import counted
from bytecap.export.source import ExportSource
from bytecap.huggingface.library import library_errors, transformers
from bytecap.huggingface.model import CausalModel, load_artifact, model_logits
from bytecap.huggingface.tokenizer import has_tokenizer

TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of floats, as safetensors names them."""
PROBE = ((2, 32),)


def write_original(source: ExportSource, place: Path) -> list[str]:
    """Weights under the names of the folder that the file was made from, then the files that lie in the file."""
    model, library = load_artifact(source.artifact, trust_code=source.trust_code), transformers()
    for name, tensor in [*model.module.named_parameters(), *model.module.named_buffers()]:
        if (kind := _type(model, name)) is not None:
            tensor.data = tensor.data.to(kind)
    module: Any = model.module
    with library_errors(library, "the folder of the file"):
        module.save_pretrained(str(place))
    for name, data in source.artifact.attached.items():
        (place / name).write_bytes(data)
    notes = []
    if not has_tokenizer(source.artifact.attached):
        notes.append("the file has no tokenizer in it (--tokenizer-outside); copy its files into the folder")
    return [*notes, *_rounding(source)]


def fitted_weights(source: ExportSource) -> CausalModel:
    """The model with each tensor rounded to the type that it has in the folder, computed in float32."""
    model = load_artifact(source.artifact, trust_code=source.trust_code)
    for name, tensor in model.module.named_parameters():
        if (kind := _type(model, name)) is not None:
            tensor.data = tensor.data.to(kind).float()
    return model


def _type(model: CausalModel, name: str) -> torch.dtype | None:
    """The type of floats that a tensor had; None for what is no float or not known."""
    return TYPES.get(model.dtypes.get(name, ""))


def _rounding(source: ExportSource) -> list[str]:
    """How far rounding to the types of the folder moves logits, where they have fewer bits than float32."""
    types = Counter(source.causal.dtypes.values())
    short = [f"{kind} ({counted(types[kind], 'tensor')})" for kind in ("BF16", "F16") if types[kind]]
    if not short:
        return []
    (tokens_BT,) = source.probes(PROBE)
    with torch.no_grad():
        moved_BTV = model_logits(fitted_weights(source).module, tokens_BT)
    expected_BTV = source.logits(tokens_BT)
    share = float((moved_BTV - expected_BTV).abs().max() / expected_BTV.abs().max())
    return [
        f"weights are rounded to the types that they had, {' and '.join(short)}, which moves logits by {share:.1g} of "
        "the largest"
    ]
