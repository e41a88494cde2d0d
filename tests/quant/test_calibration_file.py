"""A calibration comes back from its file, also from one of an older version."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

from bytecap.core.errors import DataError
from bytecap.quant.calibration_file import _digest, load_calibration, save_calibration
from bytecap.quant.statistics import Curvature
from tests.quant.test_calibration import measured


def test_a_file(tmp_path: Path) -> None:
    """Saved and read back; another checkpoint's or a damaged one is refused."""
    path, calibration = tmp_path / "c.safetensors", measured()
    save_calibration(path, calibration)
    back = load_calibration(path, "x")
    assert back.unigram == calibration.unigram and list(back.tensors) == list(calibration.tensors)
    assert np.array_equal(back.tensors["table"].outputs, calibration.tensors["table"].outputs)
    linear, expected = (each.tensors["table"].linear_II for each in (back, calibration))
    assert linear is not None and expected is not None and np.array_equal(linear, expected)
    assert back.vectors == calibration.vectors and back.tensors["mix.weight"].linear_II is None
    with pytest.raises(DataError, match="measured on checkpoint x, this is y"):
        load_calibration(path, "y")
    whole = path.read_bytes()
    number = re.search(rb"loss[^0-9]+[0-9]+\.([0-9])", whole)
    assert number is not None
    for position in (len(whole) - 3, number.start(1)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DataError, match="changed after it was written"):
            load_calibration(path, "x")
    path.write_bytes(whole[:100])
    with pytest.raises(DataError, match="is not a calibration"):
        load_calibration(path, "x")


def rewritten(path: Path, **changes: Any) -> None:
    """Change entries of the header, None takes one out, and put the digest right."""
    with safetensors.safe_open(path, framework="np") as file:
        about = {**json.loads(file.metadata()["bytecap"]), **changes}
    about = {name: value for name, value in about.items() if value is not None}
    arrays = load_file(path)
    save_file(arrays, path, metadata={"bytecap": json.dumps(about), "digest": _digest(about, arrays)})


def test_older_and_newer_files(tmp_path: Path) -> None:
    """Version 0.1.0 called the digest `made_from` and wrote no version; a newer one may know more."""
    path, calibration = tmp_path / "c.safetensors", dataclasses.replace(measured(), unigram=math.inf)
    save_calibration(path, calibration)
    rewritten(path, written_by=None, source_digest=None, made_from="x")
    assert load_calibration(path, "x").unigram == math.inf
    rewritten(path, written_by="9.1.0", glow=3)
    with pytest.raises(DataError, match=r"is not a calibration: glow is not a setting.*written by bytecap 9\.1\.0"):
        load_calibration(path, "x")
    rewritten(path, glow=None, loss="low")
    with pytest.raises(DataError, match="is not a calibration: loss must be a number, found 'low'"):
        load_calibration(path, "x")
    rewritten(path, loss=1.0, squares={"nowhere": 1.0})
    with pytest.raises(DataError, match=r"is not a calibration \(KeyError: 'inputs/nowhere'\)"):
        load_calibration(path, "x")


@pytest.mark.parametrize("wrong", [np.ones((3, 4), np.float32), np.ones((3, 3)), np.float32(1.0), np.ones((0, 3))])
@pytest.mark.parametrize("kind", ["inputs", "outputs", "linear"])
def test_matrices_that_are_no_curvature(tmp_path: Path, kind: str, wrong: np.ndarray) -> None:
    """Not square, of another type, or no matrix: refused by name, not deep inside the fit."""
    path = tmp_path / "c.safetensors"
    save_calibration(path, measured())
    with safetensors.safe_open(path, framework="np") as file:
        about = json.loads(file.metadata()["bytecap"])
    arrays = {**load_file(path), f"{kind}/table": np.asarray(wrong)}
    save_file(arrays, path, metadata={"bytecap": json.dumps(about), "digest": _digest(about, arrays)})
    with pytest.raises(DataError, match=f"{kind}/table is float.*which is no curvature"):
        load_calibration(path, "x")


def test_parts_of_a_weight(tmp_path: Path) -> None:
    """The curvature of each expert comes back; parts that do not make up the whole are refused."""
    rng = np.random.default_rng(0)
    parts = tuple(
        Curvature(
            inputs_II=rng.random((3, 3), np.float32), outputs=rng.random(2, np.float32), gradient_square=1.0
        )
        for _ in range(4)
    )  # fmt: skip
    whole = Curvature(
        inputs_II=np.eye(3, dtype=np.float32), outputs=np.ones(8, np.float32), gradient_square=1.0, parts=parts
    )
    path, calibration = tmp_path / "c.safetensors", dataclasses.replace(measured(), tensors={"w": whole})
    save_calibration(path, calibration)
    back = load_calibration(path, "x").tensors["w"].parts
    assert len(back) == 4 and np.array_equal(back[3].inputs_II, parts[3].inputs_II)
    assert np.array_equal(back[1].outputs, parts[1].outputs)
    save_calibration(path, dataclasses.replace(calibration, tensors={"w": dataclasses.replace(whole, parts=parts[:3])}))
    with pytest.raises(DataError, match="do not make up"):
        load_calibration(path, "x")
