"""Small Hugging Face folders, made by the library's own classes, with tokenizers trained here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from tests.conftest import make_document

TEXT = [make_document(seed, 60) for seed in range(12)]
STRANGE = ["naïve café – “ça va” 日本語 🙂\n\ttabs  and   spaces \r\n", " leading space", "é", ""]
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
        "max_position_embeddings": 64,
    },
    "mixtral": {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 32, "max_position_embeddings": 64, "num_local_experts": 4,
    },
    "mistral": {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 48, "max_position_embeddings": 64, "sliding_window": 8,
    },
    "mamba": {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 8},
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32, "intermediate_size": 48},
    "openai-gpt": {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64},
}  # fmt: skip


def byte_level_bpe() -> Any:
    """A tokenizer of GPT-2's kind."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXT, trainer)
    return wrapped(made, bos_token="<|end|>", eos_token="<|end|>")


def llama_like() -> Any:
    """A tokenizer of Llama's kind: U+2581 for the space, one before the text, bytes for what has no piece."""
    made = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, show_progress=False)
    made.train_from_iterator(TEXT, trainer)
    # byte pieces are part of the model and no added tokens, as in a folder that was converted from SentencePiece
    state = json.loads(made.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    return wrapped(tokenizers.Tokenizer.from_str(json.dumps(state)), bos_token="<s>", eos_token="</s>")


def meta_space() -> Any:
    """A tokenizer of Llama's kind as transformers 5 makes one: no space is put before a text that begins with one."""
    made = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=320, special_tokens=["<unk>"], show_progress=False))
    return wrapped(made, unk_token="<unk>")


def word_piece() -> Any:
    """A tokenizer of BERT's kind with case: what lies between words is lost."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(vocab_size=290, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    made.train_from_iterator(TEXT, trainer)
    return wrapped(made, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


def wrapped(made: Any, **special: str) -> Any:
    """As transformers holds it."""
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special)


def make_model(kind: str, vocab_size: int = 290, **changes: Any) -> Any:
    """A model with random weights, large enough to matter."""
    torch.manual_seed(0)
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    config = transformers.AutoConfig.for_model(kind, vocab_size=vocab_size, **ids, **SHAPES[kind] | changes)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    return model.eval()


def make_folder(path: Path, kind: str = "llama", *, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """A folder as `save_pretrained` writes it, tokenizer included."""
    make_model(kind, **changes).to(dtype).save_pretrained(path)
    byte_level_bpe().save_pretrained(path)
    return path
