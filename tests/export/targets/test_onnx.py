"""Graphs for onnxruntime: lengths and numbers of rows that were not there when they were made."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bytecap.core.errors import ConfigError, NumericsError
from bytecap.export.job import export
from bytecap.export.source import ExportSource
from bytecap.export.targets import onnx
from tests.export.examples import make_file, written


@pytest.mark.slow
def test_any_length() -> None:
    """Rows with two documents, longer than those that it was traced and compared on."""
    source, place, _ = written("onnx")
    (tokens_BT,) = source.probes([(2, 70)])
    tokens_BT[0, 30] = source.tokenizer.bos
    session = onnxruntime.InferenceSession(place)
    (found_BTV,) = session.run(None, {"input_ids": tokens_BT.numpy()})
    assert np.abs(found_BTV - source.logits(tokens_BT).numpy()).max() < 1e-4


def test_what_it_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More numbers than one file has room for; a model that cannot be traced; a file that is no graph."""
    monkeypatch.setattr(onnx, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="one file holds 1,000"):
        export(make_file(), "onnx", tmp_path / "x.onnx")
    monkeypatch.undo()

    def fail(*given: object) -> None:
        raise RuntimeError("outer") from ValueError("no such operator\nmore")

    monkeypatch.setattr(onnx, "_trace", fail)
    with pytest.raises(ConfigError, match=r"as a graph \(no such operator\)"):
        export(make_file(), "onnx", tmp_path / "x.onnx")
    (tmp_path / "y.onnx").write_bytes(b"no graph")
    with pytest.raises(NumericsError, match="onnxruntime cannot run the graph"):
        onnx.ONNX().check(ExportSource(make_file()), tmp_path / "y.onnx")
