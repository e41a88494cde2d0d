"""Folders for transformers: a Llama model that any program knows, opened here and elsewhere."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bytecap.export.job import export
from bytecap.export.llama import llama_weights
from bytecap.export.source import ExportSource
from bytecap.export.targets import hf
from tests.export.examples import make_file
from tests.export.opened_here import open_here


@pytest.mark.slow
def test_a_llama_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Config, weights and tokenizer; read with the library's own class."""
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(hf, "open_in_clean_process", open_here)
    artifact = make_file(tied=False)
    done = export(artifact, "hf", tmp_path / "out")
    assert "LlamaForCausalLM" in done.checked and "LlamaTokenizer" in done.checked and "without bytecap" in done.checked
    assert set(done.files) == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer.model",
        "tokenizer_config.json",
    }  # fmt: skip
    expected = llama_weights(artifact.quantized.state_dict())
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == expected.keys() and all(torch.equal(written[n], expected[n]) for n in written)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False
    model, source = LlamaForCausalLM.from_pretrained(tmp_path / "out"), ExportSource(artifact)
    (tokens_BT,) = source.probes([(2, 30)])
    with torch.no_grad():
        assert float((model(tokens_BT).logits - source.logits(tokens_BT)).abs().max()) < 1e-5
    assert (tmp_path / "out" / "model.safetensors").stat().st_mode & 0o077 == (
        (tmp_path / "out" / "config.json").stat().st_mode & 0o077
    )
