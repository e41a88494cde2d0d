"""What a config says, and which models it alone rules out."""

from typing import Any

import pytest

from bytecap.core.errors import BytecapError
from bytecap.huggingface.config import read_facts

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 290, "max_position_embeddings": 64}


def test_facts_are_read_from_a_config() -> None:
    """Names, sizes; of a text model inside another config too; code that is trusted."""
    facts = read_facts(LLAMA, trust_code=False)
    assert (facts.model_type, facts.architecture, facts.vocab_size, facts.max_positions) == (
        "llama", "LlamaForCausalLM", 290, 64,
    )  # fmt: skip
    inner = {"model_type": "gemma3", "text_config": {"vocab_size": 7, "max_position_embeddings": 9}}
    assert read_facts(inner, trust_code=False).vocab_size == 7
    assert read_facts({"model_type": "of_its_own", "auto_map": {"x": "y"}}, trust_code=True).vocab_size == 0
    unlimited = read_facts({"model_type": "mamba", "vocab_size": 5}, trust_code=False)
    assert unlimited.max_positions is None and unlimited.context(None) == 1024


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": None}, "no model_type"),
        ({"model_type": "lama"}, "does not know the model_type 'lama' .did you mean llama"),
        ({"model_type": "vit"}, "a vit is no causal language model"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "t5 is no causal language model"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "an encoder with a decoder"),
        ({"model_type": "bert"}, "bert is an encoder, which sees the words to come"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantized already \(GPTQ\)"),
        ({"quantization_config": {"quant_method": "awq"}}, r"quantized already \(AWQ\)"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, r"quantized already \(bitsandbytes\)"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8 with scales"),
        ({"auto_map": {"AutoModelForCausalLM": "evil.Model"}}, "has an auto_map.*--trust-remote-code"),
    ],
)
def test_other_kinds(changes: dict[str, Any], said: str) -> None:
    """Refused by the config alone."""
    with pytest.raises(BytecapError, match=said):
        read_facts({key: value for key, value in (LLAMA | changes).items() if value is not None}, trust_code=False)
