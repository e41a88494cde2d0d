"""A Hugging Face folder, a file, and the folder again: names, types and ties as before, logits of the file."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from bytecap.core.errors import NumericsError
from bytecap.export.job import export
from bytecap.export.original_folder import fitted_weights
from bytecap.export.source import ExportSource
from bytecap.export.targets import hf
from bytecap.huggingface.model import model_logits
from tests.export.examples import make_hugging_face_file
from tests.export.opened_here import open_here
from tests.huggingface.models import make_folder


def stored(folder: Path) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of each tensor of a folder."""
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        return {
            name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118
        }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype", "tied"),
    [("gpt2", torch.float32, True), ("llama", torch.bfloat16, True), ("mixtral", torch.float32, False)],
)
def test_there_and_back(
    kind: str, dtype: torch.dtype, tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same names and types; experts that the library fuses stand apart again; what rounding did is said."""
    monkeypatch.setattr(hf, "open_in_clean_process", open_here)
    original = make_folder(tmp_path / "original", kind, dtype=dtype, tie_word_embeddings=tied)
    artifact = make_hugging_face_file(kind, dtype, tie_word_embeddings=tied)
    done = export(artifact, "hf", tmp_path / "out")
    assert stored(tmp_path / "out") == stored(original)
    assert {path.name for path in original.iterdir()} == {path.name for path in (tmp_path / "out").iterdir()}
    assert (len(done.notes) == 1) == (dtype == torch.bfloat16) and "are those of the file" in done.checked
    source = ExportSource(artifact)
    rows = source.probes([(2, 20)])
    (found_BTV,) = open_here(tmp_path / "out", rows, ()).logits
    expected_BTV = model_logits(fitted_weights(source).module, rows[0])
    assert float((found_BTV.float() - expected_BTV).abs().max()) < (0.2 if dtype == torch.bfloat16 else 1e-5)
    assert float((source.logits(rows[0]) - expected_BTV).abs().max()) < 1e-5  # weights that had 16 bits are in them


def test_other_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of one file's folder fails for another's."""
    monkeypatch.setattr(hf, "open_in_clean_process", open_here)
    target = hf.HuggingFace()
    target.write(
        ExportSource(make_hugging_face_file("llama", torch.float32, tie_word_embeddings=False)), tmp_path / "x"
    )
    other = ExportSource(make_hugging_face_file("llama", torch.float32, rms_norm_eps=0.5))
    with pytest.raises(NumericsError, match="differ from the file's"):
        target.check(other, tmp_path / "x")
