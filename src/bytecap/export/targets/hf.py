"""A folder that `transformers` opens: the one that the file was made from, or a model of ours with its tokenizer.

A model of ours that is Llama-shaped becomes a `LlamaForCausalLM`. Any other brings the code that runs it, copied from
the installed bytecap, and opens with `trust_remote_code=True`; where it is opened bytecap is not needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import save_file

from bytecap.core.errors import NumericsError
from bytecap.core.settings_writer import to_sparse
from bytecap.export.llama import ISOLATED, llama_config, llama_weights, other_settings
from bytecap.export.remote_code import code_files
from bytecap.export.source import ExportSource, compare_logits
from bytecap.export.stranger import open_elsewhere
from bytecap.export.targets.base import Target
from bytecap.export.tokenizer_files import TEXTS, write_tokenizer

WEIGHTS, CONFIG, GENERATION = "model.safetensors", "config.json", "generation_config.json"
MODELING, CONFIGURATION = "modeling_bytecap", "configuration_bytecap"
PROBES = ((1, 1), (2, 9), (1, 40))


class HuggingFace(Target):
    """`AutoModelForCausalLM.from_pretrained(folder)` and `AutoTokenizer.from_pretrained(folder)`."""

    makes = "a folder that transformers opens"
    libraries: ClassVar[tuple[str, ...]] = ("transformers",)
    extra = "hf"

    def write(self, source: ExportSource, place: Path) -> list[str]:
        """Config, weights, tokenizer, and for a model that is no Llama model its code."""
        tokenizer = source.tokenizer  # refused before there is a folder
        place.mkdir()
        return [*write_tokenizer(tokenizer, place), *_write_ours(source, place)]

    def check(self, source: ExportSource, place: Path) -> str:
        """Logits on rows of several lengths, and tokens of several texts, in a process without bytecap."""
        rows, tokenizer = source.probes(PROBES), source.tokenizer
        opened = open_elsewhere(place, rows, TEXTS)
        errors = [
            compare_logits(found_BTV, source.logits(tokens_BT), "transformers")
            for found_BTV, tokens_BT in zip(opened.logits, rows, strict=True)
        ]
        for text, ids, back in zip(TEXTS, opened.ids, opened.texts, strict=True):
            expected = tokenizer.encode(text)
            if ids != [tokenizer.bos, *expected] or back != tokenizer.decode(expected):
                raise NumericsError(
                    f"{opened.tokenizer} in transformers reads {text[:40]!r} as other tokens than the file's "
                    "tokenizer; nothing was written. Export --to safetensors instead"
                )
        return (
            f"logits of {opened.model} are those of the file within {max(errors):.1g} of the largest on rows of "
            f"{', '.join(str(shape[1]) for shape in PROBES)} tokens, and {opened.tokenizer} gives its tokens, in a "
            "process without bytecap"
        )


def _write_ours(source: ExportSource, place: Path) -> list[str]:
    notes: list[str] = []
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
