"""Tables with weights in several layouts; files with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bytecap.convert.child import convert_files
from bytecap.convert.dequantize import dequantize, quantized_layouts
from bytecap.convert.job import WEIGHTS
from bytecap.core.errors import ConfigError, DataError
from bytecap.fitting.source import open_checkpoint
from tests.convert.layouts import test_bitsandbytes_4bit, test_gptq

GPTQ, WANTED = test_gptq.packed(4)
NF4, OTHER = test_bitsandbytes_4bit.packed(nested=True)
TABLE = {
    **{f"a.q_proj{end}": value.contiguous() for end, value in GPTQ.items()},
    **{f"b.weight{end}": value for end, value in NF4.items()},
    "a.q_proj.bias": torch.ones(3), "norm.weight": torch.ones(4), "steps": torch.tensor([3]),
}  # fmt: skip


def test_a_table() -> None:
    """Each weight under its usual name, all else as it was."""
    found, counts = dequantize(TABLE, {})
    assert set(found) == {"a.q_proj.weight", "b.weight", "a.q_proj.bias", "norm.weight", "steps"}
    assert torch.equal(found["a.q_proj.weight"], WANTED) and torch.equal(found["b.weight"], OTHER)
    assert counts == {"GPTQ": 1, "bitsandbytes, 4 bits": 1}
    assert quantized_layouts(TABLE).keys() == counts.keys() and not quantized_layouts(found)
    with pytest.raises(DataError, match=r"holds a.q_proj.weight beside the parts of a quantized one"):
        dequantize(TABLE | {"a.q_proj.weight": WANTED}, {})


@pytest.mark.filterwarnings("ignore")
def test_quantized_by_torch() -> None:
    """Tensors with scales of their own."""
    value = torch.quantize_per_tensor(torch.tensor([0.5, -0.25]), 0.25, 0, torch.qint8)
    assert dequantize({"w": value}, {})[0]["w"].tolist() == [0.5, -0.25]


def test_files_are_dequantized_only_when_asked(tmp_path: Path) -> None:
    """Asked for, floats; not asked for, as they are and said; nothing to do is refused, and so is fitting them."""
    path = str(tmp_path / "x.safetensors")
    save_file(TABLE, path)
    kept = convert_files({path: None}, None, tmp_path)
    assert kept["quantized"] == ["GPTQ", "bitsandbytes, 4 bits"] and set(load_file(tmp_path / WEIGHTS)) == set(TABLE)
    with pytest.raises(DataError, match=r"already \(bitsandbytes, 4 bits, such as b.weight\); give --dequantize"):
        open_checkpoint(tmp_path / WEIGHTS)
    done = convert_files({path: None}, None, tmp_path, {})
    assert done["dequantized"] == {"GPTQ": 1, "bitsandbytes, 4 bits": 1} and not done["quantized"]
    assert torch.equal(load_file(tmp_path / WEIGHTS)["a.q_proj.weight"], WANTED)
    with pytest.raises(ConfigError, match=r"no weights in a layout that is dequantized \(4-bit floats, 8 bits"):
        convert_files({str(tmp_path / WEIGHTS): None}, None, tmp_path, {})


@pytest.mark.parametrize("lost", [".scales", ".qzeros"])
def test_a_part_alone_is_told_with_what_it_lacks(tmp_path: Path, lost: str) -> None:
    """To fit, and to dequantize, also beside weights that are whole: neither sends on to the other."""
    table = {f"a.q_proj{end}": value.contiguous() for end, value in GPTQ.items() if end != lost}
    table["norm.weight"] = torch.ones(4)
    save_file(table, tmp_path / WEIGHTS)
    said = rf"a.q_proj.qweight is a part of .* \(AWQ or GPTQ\), and there is no a.q_proj{lost} beside it"
    with pytest.raises(DataError, match=said):
        open_checkpoint(tmp_path / WEIGHTS)
    for others in ({}, {f"b.weight{end}": value for end, value in NF4.items()}):
        save_file({**table, **others}, tmp_path / "x.safetensors")
        with pytest.raises(DataError, match=said):
            convert_files({str(tmp_path / "x.safetensors"): None}, None, tmp_path, {})
