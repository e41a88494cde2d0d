"""From a file to its place: what is looked at first, what is left after a failure, what is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bytecap.artifact.load import loads
from bytecap.artifact.pack import ArtifactConfig
from bytecap.core.errors import BackendError, BytecapError, ConfigError, DataError, NumericsError
from bytecap.export.job import export
from bytecap.export.source import ExportSource
from bytecap.export.targets.safetensors import Safetensors
from bytecap.text.tokenizer import Tokenizer
from tests.artifact.example import example_file, example_tokenizer
from tests.export.examples import make_file


def test_what_is_told(tmp_path: Path) -> None:
    """Bytes of both, each file, what was compared."""
    artifact = make_file()
    done = export(artifact, "safetensors", tmp_path / "new" / "x.safetensors")
    size = (tmp_path / "new" / "x.safetensors").stat().st_size
    assert done.bytes == size and done.files == {"x.safetensors": size} and done.bcap_bytes == artifact.size_bytes
    assert done.growth == size / artifact.size_bytes and "numbers of 20 tensors are those of the file" in done.checked
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.safetensors"]


def test_what_the_file_adapts_by_is_said(tmp_path: Path) -> None:
    """The default score of such a file is not that of the model alone."""
    artifact = make_file(config=ArtifactConfig())
    adapted = artifact.__class__(**{**vars(artifact), "adapt": {"softcap_temperature": {}}})
    done = export(adapted, "safetensors", tmp_path / "x.safetensors")
    assert any("adapts by softcap_temperature" in note for note in done.notes)


@pytest.mark.parametrize(
    ("to", "name", "kind", "said"),
    [
        ("safetensor", "x.safetensors", ConfigError, "did you mean safetensors"),
        ("../hf", "x", ConfigError, "there is no target of an export"),
        ("base", "x", ConfigError, "there is no target of an export"),
        ("safetensors", "x.bin", ConfigError, r"must end in \.safetensors"),
        ("gguf", "x", ConfigError, r"must end in \.gguf"),
        ("hf", "there", ConfigError, "there already"),
        ("safetensors", "there.safetensors", ConfigError, "there already"),
        ("safetensors", "dangling.safetensors", ConfigError, "there already"),
        ("safetensors", "file/x.safetensors", BackendError, "a file is where a folder is needed"),
        ("hf", "", BytecapError, "there already"),
    ],
)
def test_wrong_words_and_places(to: str, name: str, kind: type[Exception], said: str, tmp_path: Path) -> None:
    """Nothing is lost, nothing is left."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there.safetensors").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling.safetensors").symlink_to("nowhere")
    with pytest.raises(kind, match=said):
        export(make_file(), to, tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named before anything is done."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for to, extra in (("gguf", "gguf"), ("onnx", "onnx"), ("hf", "hf")):
        with pytest.raises(BackendError, match=rf"pip install 'bytecap\[{extra}\]'"):
            export(make_file(), to, tmp_path / f"x.{to}" if to != "hf" else tmp_path / "x")


def test_weights_alone_and_files_without_a_tokenizer(tmp_path: Path) -> None:
    """Only by name; or with the tokenizer of the run around the file."""
    alone = loads(example_file(spec=None))
    assert export(alone, "safetensors", tmp_path / "x.safetensors").bytes > 0
    for to, name in (("hf", "x"), ("gguf", "x.gguf"), ("onnx", "x.onnx")):
        with pytest.raises(ConfigError, match="weights without a model"):
            export(alone, to, tmp_path / name)
    bare = loads(example_file(embed=False))
    with pytest.raises(DataError, match="no tokenizer in it"):
        export(bare, "hf", tmp_path / "x")
    other = Tokenizer.from_bytes(example_tokenizer())
    assert ExportSource(bare, other).probes([(2, 5)])[0][:, 0].tolist() == [other.bos] * 2


def test_nothing_is_left_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a target that writes wrongly nor of one that stops half way."""

    def write_wrongly(self: Safetensors, source: ExportSource, place: Path) -> list[str]:
        other = ExportSource(make_file(seed=1))
        return real(self, other, place)

    def stop(self: Safetensors, source: ExportSource, place: Path) -> Any:
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    real = Safetensors.write
    for write, kind, said in ((write_wrongly, NumericsError, "other numbers"), (stop, BackendError, "disk is full")):
        monkeypatch.setattr(Safetensors, "write", write)
        with pytest.raises(kind, match=said):
            export(make_file(), "safetensors", tmp_path / "x.safetensors")
        assert list(tmp_path.iterdir()) == []
