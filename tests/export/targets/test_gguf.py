"""GGUF: the types that hold a file's integers exactly, and llama.cpp itself where it is installed."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from bytecap.convert.kinds.base import ByteLimit
from bytecap.convert.kinds.gguf import GGUF as Kind
from bytecap.core.errors import ConfigError, NumericsError
from bytecap.export.job import export
from bytecap.export.source import ExportSource
from bytecap.export.targets.gguf import GGUF
from tests.export.examples import make_file, make_hugging_face_file


def test_types_and_metadata(tmp_path: Path) -> None:
    """Integers keep their scales; the shape and the tokens stand in the file."""
    done = export(make_file(how="integers", tied=False), "gguf", tmp_path / "x.gguf")
    assert done.growth < 1.5 and "Q4_0" in done.notes[0]
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["blk.0.attn_q.weight"] == "Q4_0" and types["blk.1.ffn_down.weight"] == "Q8_0"
    assert types["output_norm.weight"] == "F32"
    fields = reader.fields
    assert fields["llama.attention.head_count_kv"].contents() == 1
    assert fields["tokenizer.ggml.bos_token_id"].contents() == 1 and len(fields["tokenizer.ggml.tokens"].data) == 300


def test_the_order_of_rows_is_undone_by_reading(tmp_path: Path) -> None:
    """A pair of neighbouring rows in the file is a pair half a head apart in the model."""
    artifact = make_file()
    export(artifact, "gguf", tmp_path / "x.gguf")
    found = Kind().read(tmp_path / "x.gguf", ByteLimit(1 << 30))["blk.0.attn_q.weight"]
    query = artifact.quantized.state_dict()["blocks.0.attention.query.weight"]
    assert torch.equal(found[0], query[0]) and torch.equal(found[1], query[8]) and torch.equal(found[17], query[24])


def test_a_tokenizer_that_it_has_not(tmp_path: Path) -> None:
    """Text without case: the model is written, its tokenizer is not, and that is said."""
    done = export(make_file(vocab_size=320, transform="case"), "gguf", tmp_path / "x.gguf")
    assert any("no tokenizer in it" in note for note in done.notes)
    assert gguf.GGUFReader(tmp_path / "x.gguf").fields["tokenizer.ggml.model"].contents() == "none"


def test_damage_is_found(tmp_path: Path) -> None:
    """One number of one tensor."""
    source = ExportSource(make_file())
    GGUF().write(source, tmp_path / "x.gguf")
    data = bytearray((tmp_path / "x.gguf").read_bytes())
    data[-100] ^= 0x40
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(NumericsError, match="other numbers in tensor"):
        GGUF().check(source, tmp_path / "x.gguf")


@pytest.mark.slow
def test_llama_cpp_runs_it(tmp_path: Path) -> None:
    """Tokens of a text, logits to 1e-5 of the largest where nothing is rounded, and the text that it goes on with."""
    llama_cpp: Any = pytest.importorskip("llama_cpp")
    artifact = make_file(tied=False)
    export(artifact, "gguf", tmp_path / "x.gguf")
    source = ExportSource(artifact)
    model = llama_cpp.Llama(
        str(tmp_path / "x.gguf"), n_ctx=64, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0
    )
    text = "the model has a byte\n  one 12 é漢"
    ids = model.tokenize(text.encode(), add_bos=True, special=False)
    assert ids == [source.tokenizer.bos, *source.tokenizer.encode(text)]
    model.eval(ids)
    expected_TV = source.logits(torch.tensor([ids]))[0].numpy()
    error = np.abs(np.array(model.scores[: len(ids)]) - expected_TV).max() / np.abs(expected_TV).max()
    assert error < 1e-5
    said = model("the model", max_tokens=6, temperature=0, top_k=1, repeat_penalty=1.0)["choices"][0]["text"]
    ids = [source.tokenizer.bos, *source.tokenizer.encode("the model")]
    for _ in range(6):
        ids.append(int(source.logits(torch.tensor([ids]))[0, -1].argmax()))
    assert source.tokenizer.decode(ids[-6:]).replace("\ufffd", "").startswith(said.replace("\ufffd", "")[:4])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_hugging_face_model(kind: str, tmp_path: Path) -> None:
    """Its shape, and its tokens spelled in bytes; a model of another kind is refused with what it could become."""
    artifact = make_hugging_face_file(kind)
    if kind == "gpt2":
        with pytest.raises(ConfigError, match=r"is a gpt2, and gguf is written for llama.*convert_hf_to_gguf"):
            export(artifact, "gguf", tmp_path / "x.gguf")
        return
    export(artifact, "gguf", tmp_path / "x.gguf")
    fields = gguf.GGUFReader(tmp_path / "x.gguf").fields
    assert fields["tokenizer.ggml.model"].contents() == "gpt2" and fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert len(fields["tokenizer.ggml.merges"].data) > 10 and fields["llama.rope.freq_base"].contents() == 10_000


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"hidden_act": "gelu"}, "hidden_act"), ({"attention_bias": True}, "attention_bias")],
)
def test_relatives_that_llama_cpp_has_not(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    """A setting that would be lost is named."""
    with pytest.raises(ConfigError, match=f"{said} of the file's model is"):
        export(make_hugging_face_file("llama", **changes), "gguf", tmp_path / "x.gguf")
