"""A Llama-shaped `.bcap` file as a folder that other programs open: config.json, model.safetensors, tokenizer.model.

usage: python examples/for_other_programs.py FILE FOLDER

The names are those of LlamaForCausalLM. The weights are those of the file, in float32, so the folder is larger than the
file; logits within one document are the same. A model that is not of this shape is refused.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from bytecap import load
from bytecap.model.spec import ModelSpec

NAMES = {
    "embedding": "model.embed_tokens.weight", "head": "lm_head.weight", "final_norm.weight": "model.norm.weight",
    "attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm",
    "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj", "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj", "mlp.up": "mlp.up_proj", "mlp.gate": "mlp.gate_proj",
    "mlp.down": "mlp.down_proj",
}  # fmt: skip
"""Ours and theirs: nothing else differs."""

NEEDED = {
    "block": "llama", "activation": "swiglu", "logit_softcap": 0, "techniques": {}, "rope_dims": 0, "ln_scale": False
}  # fmt: skip
"""Settings of the model that other programs have not."""


def their_name(name: str) -> str:
    """The name of a parameter in a Llama model: `blocks.2.mlp.up.weight` is `model.layers.2.mlp.up_proj.weight`."""
    if not name.startswith("blocks."):
        return NAMES[name]
    _, block, *inner, last = name.split(".")
    return f"model.layers.{block}.{NAMES['.'.join(inner)]}.{last}"


def their_config(spec: ModelSpec, context: int) -> dict[str, object]:
    """The shape under their names."""
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32",
        "vocab_size": spec.vocab_size, "hidden_size": spec.d_model, "intermediate_size": spec.d_ff,
        "num_hidden_layers": spec.n_layers, "num_attention_heads": spec.n_heads,
        "num_key_value_heads": spec.n_kv_heads, "head_dim": spec.d_head, "hidden_act": "silu",
        "rms_norm_eps": torch.finfo(torch.float32).eps, "rope_theta": spec.rope_base,
        "max_position_embeddings": context, "tie_word_embeddings": spec.tied, "attention_bias": False,
        "mlp_bias": False, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def main() -> None:
    """Refuse what they have not, write the three files, say what they hold."""
    artifact, folder = load(Path(sys.argv[1])), Path(sys.argv[2])
    spec = artifact.spec
    if spec is None:
        sys.exit("the file holds weights without a model")
    for name, needed in NEEDED.items():
        if (found := getattr(spec, name)) != needed:
            sys.exit(f"model.{name} is {found}, and a Llama model needs {needed}")
    folder.mkdir(parents=True, exist_ok=True)
    weights = {their_name(name): value for name, value in artifact.quantized.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(their_config(spec, artifact.context), indent=2) + "\n")
    if artifact.tokenizer is not None:
        (folder / "tokenizer.model").write_bytes(artifact.tokenizer)
    print(f"{len(weights)} tensors, {sum(value.numel() for value in weights.values()):,} weights in {folder}")


if __name__ == "__main__":
    main()
