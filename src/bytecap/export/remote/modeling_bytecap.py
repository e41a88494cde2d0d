"""A bytecap model as a causal language model of transformers.

The model is `GPT` in the files beside this one, copied from the bytecap that wrote the folder; bytecap need not be
installed. Each position sees its own document alone: a document begins at the token `config.bos_token_id`. There is no
cache, so every new token reads the whole text again.

Letters: B sequences, T positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from bytecap.export.remote.configuration_bytecap import BytecapConfig
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec


class BytecapForCausalLM(PreTrainedModel, GenerationMixin):
    """Logits of the next token."""

    config_class = BytecapConfig
    _supports_sdpa = True

    def __init__(self, config: BytecapConfig) -> None:
        super().__init__(config)
        self.model = GPT(ModelSpec.from_json(config.bytecap_model))
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs: Any
    ) -> CausalLMOutput:
        """Logits (B, T, V), and with labels the mean loss in nats of those that are not negative.

        Padding may stand before a row's first token where that is the one that documents begin with, or behind the row.
        """
        bos = self.config.bos_token_id
        if attention_mask is not None and attention_mask.ndim == 2:
            first_B = attention_mask.int().argmax(1, keepdim=True)
            if bool(((first_B > 0) & (input_ids.gather(1, first_B) != bos)).any()):
                raise ValueError(f"rows that are padded on the left must begin with the token {bos}; pad on the right")
        logits_BTV = self.model.logits(self.model.hidden(input_ids, bos))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutput(loss=loss, logits=logits_BTV)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """The whole text, as there is no cache."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def get_input_embeddings(self) -> Any:
        """None: the embedding is a parameter of the model, used for the logits too."""
        return None

    def _init_weights(self, module: nn.Module) -> None:
        """Weights come from the file."""
