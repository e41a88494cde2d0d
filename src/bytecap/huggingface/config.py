"""What `config.json` says of a model, and the kinds of model that are refused by name.

In:   the JSON of a config, or of a tokenizer's.
Out:  the config's facts; ConfigError or DataError before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bytecap.convert.layouts import layout_titles
from bytecap.core.errors import ConfigError, DataError, nearest
from bytecap.huggingface.library import transformers
from bytecap.model.spec import MAX_CONTEXT

DEFAULT_CONTEXT = 1024
"""Positions of a window by default, at most as many as the model knows."""
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
_QUANTIZED = {
    "gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "fp8": "fp8 with scales",
    "fbgemm_fp8": "fp8 with scales", "compressed-tensors": "compressed-tensors",
    "hqq": "HQQ", "mxfp4": "MXFP4", "nvfp4": "NVFP4", "quanto": "quanto",
    "torchao": "torchao", "aqlm": "AQLM", "auto-round": "AutoRound", "gguf": "GGUF", "bitnet": "BitNet",
}  # fmt: skip
QUANTIZATION_KEYS = ("quantization_config", "compression_config")
"""Keys of a config that say how its weights are quantized."""
FIT_NUMBERS = "give --dequantize to fit the numbers that its integers stand for"


@dataclass(frozen=True)
class ModelFacts:
    """What the rest of the program needs to know of a config."""

    model_type: str
    architecture: str
    vocab_size: int
    max_positions: int | None
    """Positions that the model knows; None where its config does not limit them."""

    def context(self, wanted: int | None) -> int:
        """Positions of a window; ConfigError for more than the model knows."""
        most = min(self.max_positions or MAX_CONTEXT, MAX_CONTEXT)
        if wanted is not None and wanted > most:
            raise ConfigError(f"a context of {wanted:,} is more than the {most:,} positions of {self.architecture}")
        return min(wanted or DEFAULT_CONTEXT, most)


def read_facts(config: Mapping[str, Any], *, trust_code: bool) -> ModelFacts:
    """The facts of a causal language model; an error that names what else it is."""
    refuse_code(config, "config.json", trust_code)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise DataError(
            "config.json has no model_type, so it is not known what model it describes; get the whole folder"
        )
    refuse_quantized(config)
    if not (trust_code and "auto_map" in config):
        _refuse_other_models(model_type, config)
    inner = config.get("text_config")
    inside: Mapping[str, Any] = {**config, **inner} if isinstance(inner, dict) else config
    architectures = config.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else model_type
    vocab_size = inside.get("vocab_size")
    positions = [inside[key] for key in _POSITIONS if type(inside.get(key)) is int and inside[key] > 0]
    return ModelFacts(
        model_type, str(named), vocab_size if type(vocab_size) is int else 0, positions[0] if positions else None
    )


def refuse_code(config: Mapping[str, Any], name: str, trust_code: bool) -> None:
    """Raise ConfigError for a folder that wants to run code of its own, unless that was allowed."""
    if config.get("auto_map") and not trust_code:
        raise ConfigError(
            f"{name} has an auto_map: the folder brings Python code of its own, which is not run; read it, and if you "
            "trust it give --trust-remote-code"
        )


def refuse_quantized(config: Mapping[str, Any]) -> None:
    """Raise DataError for weights that are already quantized."""
    found = next((config[key] for key in QUANTIZATION_KEYS if config.get(key)), None)
    if not found:
        return
    method = str(found.get("quant_method", "")) if isinstance(found, dict) else ""
    known = _QUANTIZED.get(method, method or "unnamed")
    raise DataError(
        f"the checkpoint is quantized already ({known}): what was lost there cannot be fitted again; "
        f"{what_to_do(known)}",
        method=method,
    )


def what_to_do(kind: str) -> str:
    """What to do about weights in a quantized layout, by its name."""
    titles = " ".join(layout_titles())
    if any(name.split()[0] in titles for name in kind.split(" or ")):
        return f"{FIT_NUMBERS}, or fit the original at 16 or 32 bits"
    return "fit the original at 16 or 32 bits, or load it with transformers, call model.dequantize() and save that"


def _written_by(config: Mapping[str, Any], installed: str) -> str:
    """The version of transformers that wrote the config, where it is another than the installed one."""
    written = str(config.get("transformers_version", installed))[:40]
    return "" if written == installed else f" (the config was written by {written!a})"


def _refuse_other_models(model_type: str, config: Mapping[str, Any]) -> None:
    """Raise DataError for what is no causal language model that the installed transformers knows."""
    library = transformers()
    auto = library.models.auto
    causal = auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    known = auto.configuration_auto.CONFIG_MAPPING_NAMES
    if model_type not in known:
        raise DataError(
            f"transformers {library.__version__} does not know the model_type {model_type[:60]!a}"
            f"{nearest(model_type, known)}; correct config.json, or install a version of transformers that "
            f"knows it{_written_by(config, library.__version__)}"
        )
    if model_type not in causal:
        raise DataError(
            f"a {model_type} is no causal language model (AutoModelForCausalLM does not take it); what is fitted from "
            "a folder must predict the next token. Fit its .safetensors file as weights alone, or from Python with "
            "bytecap.fit(model, batches, loss=..., cap_bytes=...)"
        )
    if config.get("is_encoder_decoder") is True:
        raise DataError(
            f"{model_type} is an encoder with a decoder; what is fitted from a folder must be a decoder alone"
        )
    masked = auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if model_type in masked and config.get("is_decoder") is not True:
        raise DataError(
            f"{model_type} is an encoder, which sees the words to come (is_decoder is not true); what is fitted from a "
            "folder must predict the next token. Fit its .safetensors file as weights alone"
        )
