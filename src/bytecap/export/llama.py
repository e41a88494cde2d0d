"""Models of ours that are Llama models under other names: which they are, and what they are called there.

In:   a ModelSpec and weights by our names.
Out:  the config and the weights of a `LlamaForCausalLM`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bytecap.core.errors import ConfigError
from bytecap.export.source import ExportSource
from bytecap.formats.base import StoredTensor
from bytecap.model.spec import ModelSpec

NAMES = {
    "embedding": "model.embed_tokens.weight", "head": "lm_head.weight", "final_norm.weight": "model.norm.weight",
    "attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm",
    "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj", "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj", "mlp.up": "mlp.up_proj", "mlp.gate": "mlp.gate_proj",
    "mlp.down": "mlp.down_proj",
}  # fmt: skip
"""Ours and theirs: nothing else differs."""
NEEDED: dict[str, Any] = {
    "block": "llama", "activation": "swiglu", "logit_softcap": 0, "techniques": {}, "rope_dims": 0, "ln_scale": False
}  # fmt: skip
"""Settings of the model that a Llama model has no others for."""
RELATIVES = ("llama", "mistral", "qwen2", "qwen3")
"""Types of Hugging Face models that are Llama's but for biases and norms of queries and keys."""
DEFAULT_ROPE = "default"
USUAL: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",), "mlp_bias": (False, None), "sliding_window": (None,), "attention_bias": (False, None),
    "use_sliding_window": (False, None),
}  # fmt: skip
"""Values of settings without which a model is another one."""
ISOLATED = (
    "within one document the logits are those of the file; behind a second beginning of text in the same row other "
    "programs see the document before it, and the file's own model does not"
)


def other_settings(spec: ModelSpec) -> dict[str, object]:
    """Settings that no Llama model has, with their values; empty for one that is Llama-shaped."""
    return {name: getattr(spec, name) for name, needed in NEEDED.items() if getattr(spec, name) != needed}


def refuse_other_shapes(spec: ModelSpec) -> None:
    """ConfigError, naming the first setting that a Llama model has not."""
    for name, found in other_settings(spec).items():
        shown = json.dumps(NEEDED[name]) if name == "techniques" else NEEDED[name]
        value = ", ".join(found) if isinstance(found, Mapping) else found
        raise ConfigError(
            f"model.{name} is {value}, and a Llama model needs {shown}; export --to hf or --to onnx, or train with "
            "model.block = llama, model.activation = swiglu, model.logit_softcap = 0 and no techniques"
        )


def llama_name(name: str) -> str:
    """The name of a parameter in a Llama model.

    >>> llama_name("blocks.2.mlp.up.weight")
    'model.layers.2.mlp.up_proj.weight'
    """
    if not name.startswith("blocks."):
        return NAMES[name]
    _, block, *inner, last = name.split(".")
    return f"model.layers.{block}.{NAMES['.'.join(inner)]}.{last}"


def llama_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights under their names; the numbers are the same."""
    return {llama_name(name): value for name, value in weights.items()}


@dataclass(frozen=True)
class LlamaModel:
    """A model under the names of Llama."""

    config: dict[str, Any]
    """What `config.json` says."""
    weights: dict[str, Tensor]
    """By the names of LlamaForCausalLM."""
    stored: dict[str, StoredTensor]
    """How the file holds them."""

    @property
    def architecture(self) -> str:
        """The name of the architecture in GGUF; llama.cpp runs a Mistral model as a Llama model."""
        kind = str(self.config["model_type"])
        return "llama" if kind == "mistral" else kind


def llama_model(source: ExportSource) -> LlamaModel:
    """The model of a file as a Llama model, or one of its close relatives; ConfigError where it is none."""
    held = source.artifact.quantized
    stored = {name: held.tensors[held.aliases.get(name, name)] for name in source.weights}
    if source.is_hugging_face:
        config, weights = _their_config(source), dict(source.weights)
        if config.get("tie_word_embeddings"):
            weights.pop("lm_head.weight", None)  # the embedding under its second name
        return LlamaModel(config, weights, stored)
    refuse_other_shapes(source.spec)
    ours = {llama_name(name): tensor for name, tensor in stored.items()}
    return LlamaModel(llama_config(source), llama_weights(source.weights), ours)


def _their_config(source: ExportSource) -> dict[str, Any]:
    """The config of a Hugging Face model, every key there; ConfigError for what no Llama model of llama.cpp has."""
    described: Any = source.causal.module.config
    config: dict[str, Any] = described.to_dict()
    if (kind := config["model_type"]) not in RELATIVES:
        raise ConfigError(
            f"the file's model is a {kind}, and gguf is written for {', '.join(RELATIVES)}; export --to hf, and "
            "convert that folder with llama.cpp's own convert_hf_to_gguf.py"
        )
    rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config.get("rope_theta", 10_000.0)}
    used = {"rope_type": rope.get("rope_type", "default"), **{key: config.get(key) for key in USUAL if key in config}}
    for key, value in used.items():
        if value not in USUAL.get(key, (DEFAULT_ROPE,)):
            raise ConfigError(
                f"{key} of the file's model is {value}, which is not written for llama.cpp; export --to hf, and "
                "convert that folder with llama.cpp's own convert_hf_to_gguf.py"
            )
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    return {**config, "rope_theta": rope["rope_theta"], "head_dim": head_dim, "max_position_embeddings": source.context}


def llama_config(source: ExportSource) -> dict[str, Any]:
    """The shape under their names, as `config.json` has it."""
    spec, pieces = source.spec, source.tokenizer.processor
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32",
        "vocab_size": spec.vocab_size, "hidden_size": spec.d_model, "intermediate_size": spec.d_ff,
        "num_hidden_layers": spec.n_layers, "num_attention_heads": spec.n_heads,
        "num_key_value_heads": spec.n_kv_heads, "head_dim": spec.d_head, "hidden_act": "silu",
        "rms_norm_eps": torch.finfo(torch.float32).eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": spec.rope_base},
        "rope_theta": spec.rope_base, "max_position_embeddings": source.context, "tie_word_embeddings": spec.tied,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": source.tokenizer.bos,
        "eos_token_id": max(0, pieces.eos_id()), "pad_token_id": pieces.pad_id() if pieces.pad_id() >= 0 else None,
    }  # fmt: skip
