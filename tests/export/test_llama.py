"""Which models of ours are Llama models; that their numbers are is held by tests/model/test_llama.py."""

from typing import Any

import pytest

from bytecap.core.errors import ConfigError
from bytecap.export.llama import llama_config, llama_model, other_settings, refuse_other_shapes
from bytecap.export.source import ExportSource
from bytecap.model.techniques import with_defaults
from tests.export.examples import LLAMA, OTHER, make_file


def test_config_and_names() -> None:
    """The shape, the tokens with names, the weights under theirs."""
    source = ExportSource(make_file(tied=False))
    config, model = llama_config(source), llama_model(source)
    assert config["num_key_value_heads"] == 1 and config["tie_word_embeddings"] is False and config["head_dim"] == 16
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 0)
    assert {"lm_head.weight", "model.layers.1.mlp.down_proj.weight"} < model.weights.keys() == model.stored.keys()


@pytest.mark.parametrize(
    "fields",
    [
        {"logit_softcap": 30.0}, {"activation": "gelu"}, {"rope_dims": 8}, {"ln_scale": True},
        {"techniques": with_defaults("xsa")}, {"block": "baseline"},
    ],
)  # fmt: skip
def test_other_shapes(fields: dict[str, Any]) -> None:
    """Each setting that no Llama model has is named with its value."""
    spec = make_file(**fields).spec
    assert spec is not None and list(other_settings(spec)) == list(fields)
    with pytest.raises(ConfigError, match=rf"model\.{next(iter(fields))} is .*, and a Llama model needs"):
        refuse_other_shapes(spec)
    assert not other_settings(LLAMA) and other_settings(OTHER)
