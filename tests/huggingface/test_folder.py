"""What is no whole folder of a causal language model is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bytecap.core.errors import ConfigError, DataError
from bytecap.huggingface.folder import copy_dequantized, open_folder, read_small, tokenizer_files
from bytecap.huggingface.model import load_folder
from tests.huggingface.models import make_folder
from tests.progress import Notes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Llama."""
    return make_folder(tmp_path / "model", dtype=torch.bfloat16)


def split(folder: Path) -> dict[str, str]:
    """The folder's weights in two files with an index, which is given."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-1.safetensors": names[:5], "model-2.safetensors": names[5:]}
    for file, mine in parts.items():
        save_file({name: weights[name] for name in mine}, folder / file, metadata={"format": "pt"})
    index = {name: file for file, mine in parts.items() for name in mine}
    write_index(folder, index)
    return index


def write_index(folder: Path, index: dict[str, str]) -> None:
    """The index of a folder."""
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def test_a_whole_folder(folder: Path) -> None:
    """Facts, types and the names of its small files; also in parts."""
    found = open_folder(folder)
    assert found.facts.model_type == "llama" and found.facts.vocab_size == 290 and found.facts.max_positions == 64
    assert set(found.dtypes.values()) == {"BF16"} and not found.foreign
    assert found.model_files == ["config.json", "generation_config.json"]
    assert tokenizer_files(folder) == ["tokenizer.json", "tokenizer_config.json"]
    assert found.facts.context(None) == 64 and found.facts.context(10) == 10
    with pytest.raises(ConfigError, match="more than the 64 positions"):
        found.facts.context(65)
    split(folder)
    assert open_folder(folder).dtypes == found.dtypes
    small = read_small(folder, ["config.json"])["config.json"]
    assert b"\n" not in small and json.loads(small) == json.loads((folder / "config.json").read_text())


def test_missing_parts(folder: Path) -> None:
    """No weights, a part that is not there, a tensor that is in none, a file cut short."""
    index = split(folder)
    write_index(folder, index | {"more": "model-2.safetensors"})
    with pytest.raises(DataError, match=r"says that more is in model-2\.safetensors, which does not hold it"):
        open_folder(folder)
    write_index(folder, index | {"more": "model-3.safetensors"})
    with pytest.raises(DataError, match=r"names model-3\.safetensors, which is not there"):
        open_folder(folder)
    write_index(folder, index)
    whole = (folder / "model-1.safetensors").read_bytes()
    (folder / "model-1.safetensors").write_bytes(whole[:-100])
    with pytest.raises(DataError, match="is no whole safetensors file"):
        open_folder(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(DataError, match=r"no weights beside it.*it has model-1.safetensors"):
        open_folder(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(DataError, match="holds no JSON object"):
        open_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json cannot be read as JSON"):
        open_folder(folder)


def test_code_of_a_tokenizer(folder: Path) -> None:
    """It is code all the same."""
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["evil.T", None]}}))
    with pytest.raises(ConfigError, match=r"tokenizer_config\.json has an auto_map"):
        open_folder(folder)


def test_half_a_checkpoint(folder: Path) -> None:
    """A tensor that is missing, or of another shape, or holds NaN; one too many is said."""
    weights = load_file(folder / "model.safetensors")

    def load(**changes: Any) -> None:
        kept = {name: value for name, value in (weights | changes).items() if value is not None}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        load_folder(open_folder(folder), noted)

    noted = Notes()
    with pytest.raises(DataError, match="half a checkpoint: 1 tensor of the model missing, such as lm_head"):
        load(**{"lm_head.weight": None})
    with pytest.raises(DataError, match=r"model.norm.weight .* has shape \(5,\), its config.json asks for \(32,\)"):
        load(**{"model.norm.weight": torch.zeros(5)})
    with pytest.raises(DataError, match=r"lm_head.weight of .* holds whole numbers \(I8\), so the checkpoint is quant"):
        load(**{"lm_head.weight": weights["lm_head.weight"].char()})
    with pytest.raises(DataError, match=r"more.qweight of .* quantized already \(GPTQ or AWQ\)"):
        load(**{"more.qweight": torch.zeros(5)})
    load(**{"more.weight": torch.zeros(5)})
    assert "1 tensor of" in noted.notes[0] and "more.weight" in noted.notes[0]


def test_a_dequantized_copy_of_a_folder_opens(folder: Path, tmp_path: Path) -> None:
    """A copy with the numbers that integers stand for, which opens; all else of the folder is in it."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    matrix = weights.pop("model.layers.0.mlp.up_proj.weight")
    scale = matrix.abs().amax(1, keepdim=True) / 127
    eight = (matrix / scale).round().to(torch.int8)
    stored = {"model.layers.0.mlp.up_proj.weight": eight, "model.layers.0.mlp.up_proj.weight_scale": scale}
    save_file(weights | stored, path)
    config = json.loads((folder / "config.json").read_text())
    quantized = config | {"quantization_config": {"quant_method": "compressed-tensors"}}
    (folder / "config.json").write_text(json.dumps(quantized))
    with pytest.raises(DataError, match=r"quantized already \(compressed-tensors\).* give --dequantize to fit"):
        open_folder(folder)
    (tmp_path / "copy").mkdir()
    copy = copy_dequantized(folder, tmp_path / "copy")
    assert open_folder(copy).config == config and tokenizer_files(copy) == tokenizer_files(folder)
    found = load_file(copy / "model.safetensors")
    assert torch.equal(found["model.layers.0.mlp.up_proj.weight"], eight.float() * scale)
    assert {name: torch.equal(found[name], value) for name, value in weights.items()} == dict.fromkeys(weights, True)
