"""A model of ours as a folder of transformers: config, weights, tokenizer, and code where no Llama model is like it.

In:   an ExportSource and an empty folder.
Out:  the files, and what a reader must know.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from bytecap.core.errors import NumericsError
from bytecap.core.settings_writer import to_sparse
from bytecap.export.clean_process import Opened
from bytecap.export.llama import ISOLATED, llama_config, llama_weights, other_settings
from bytecap.export.remote_code import code_files
from bytecap.export.source import ExportSource
from bytecap.export.tokenizer_files import TEXTS, write_tokenizer
from bytecap.huggingface.folder import CONFIG

WEIGHTS, GENERATION = "model.safetensors", "generation_config.json"
MODELING, CONFIGURATION = "modeling_bytecap", "configuration_bytecap"


def write_ours(source: ExportSource, place: Path) -> list[str]:
    """The files of a model of ours; what a reader must know."""
    notes = write_tokenizer(source.tokenizer, place)
    if other_settings(source.spec):
        save_file(
            {f"model.{n}": value for n, value in source.weights.items()}, place / WEIGHTS, metadata={"format": "pt"}
        )
        config = _our_config(source)
        for name, text in code_files(MODELING, source.spec.techniques).items():
            (place / name).write_text(text, "utf-8")
        notes.append(
            "the folder brings the code of its model, which runs with trust_remote_code=True alone: no Llama model has "
            f"{', '.join(f'model.{name}' for name in other_settings(source.spec))} like this one"
        )
    else:
        save_file(llama_weights(source.weights), place / WEIGHTS, metadata={"format": "pt"})
        config = llama_config(source)
        if not source.spec.across_documents:
            notes.append(ISOLATED)
    _write_json(place / CONFIG, config)
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(key) is not None}
    _write_json(place / GENERATION, {**ids, **({} if config["model_type"] == "llama" else {"use_cache": False})})
    return notes


def _our_config(source: ExportSource) -> dict[str, Any]:
    pieces = source.tokenizer.processor
    return {
        "architectures": ["BytecapForCausalLM"], "model_type": "bytecap", "dtype": "float32",
        "auto_map": {
            "AutoConfig": f"{CONFIGURATION}.BytecapConfig", "AutoModelForCausalLM": f"{MODELING}.BytecapForCausalLM",
        },
        "bytecap_model": to_sparse(source.spec), "vocab_size": source.spec.vocab_size,
        "hidden_size": source.spec.d_model, "num_hidden_layers": source.spec.n_layers,
        "max_position_embeddings": source.context, "bos_token_id": source.tokenizer.bos,
        "eos_token_id": max(0, pieces.eos_id()), "pad_token_id": pieces.pad_id() if pieces.pad_id() >= 0 else None,
        "use_cache": False, "tie_word_embeddings": False,
    }  # fmt: skip


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def compare_tokens(source: ExportSource, opened: Opened) -> None:
    """Raise NumericsError where the folder's tokenizer differs from ours in the tokens of `TEXTS` or their texts."""
    tokenizer = source.tokenizer
    for text, ids, back in zip(TEXTS, opened.ids, opened.texts, strict=True):
        expected = tokenizer.encode(text)
        if ids != [tokenizer.bos, *expected] or back != tokenizer.decode(expected):
            raise NumericsError(
                f"{opened.tokenizer} in transformers reads {text[:40]!r} as other tokens than the file's tokenizer; "
                "nothing was written. Export --to safetensors instead"
            )
