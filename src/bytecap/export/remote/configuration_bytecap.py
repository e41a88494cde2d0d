"""The config of a bytecap model, as transformers reads it from `config.json`."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class BytecapConfig(PretrainedConfig):
    """What builds the model: the settings that differ from their defaults, and the token that documents begin with."""

    model_type = "bytecap"

    def __init__(self, bytecap_model: dict[str, Any] | None = None, **others: Any) -> None:
        self.bytecap_model = bytecap_model or {"vocab_size": 256}
        others.setdefault("bos_token_id", 1)
        others.setdefault("use_cache", False)
        others["tie_word_embeddings"] = False  # where they are tied there is one tensor, used twice
        super().__init__(**others)
