"""A calibration as a file: matrices as tensors, everything else as JSON in the metadata.

In:   a Calibration.
Out:  `calibration.safetensors`, and the Calibration back.

Letters: O rows (outputs), I columns (inputs) of a weight.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file

from bytecap.core.digest import digest_arrays, digest_json
from bytecap.core.errors import DataError
from bytecap.core.files import parse_json, write_atomic
from bytecap.core.settings import ANY_NUMBER, history
from bytecap.core.settings_reader import from_saved
from bytecap.core.settings_writer import to_saved
from bytecap.quant.spill import keep
from bytecap.quant.statistics import Calibration, Curvature

_REMEDY = "delete it to measure again"


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The JSON of the file; names and meaning as in Calibration."""

    source_digest: str = field(metadata=history(renamed=("made_from",)))
    tokens: int
    measured_on: str
    loss: float = field(metadata=ANY_NUMBER)
    unigram: float = field(metadata=ANY_NUMBER)
    squares: dict[str, float] = field(metadata=ANY_NUMBER)
    """`gradient_square` of each measured weight; its matrices are the tensors `inputs/`, `outputs/` and `linear/`."""
    vectors: dict[str, float] = field(metadata=ANY_NUMBER)
    distinct: int = 0


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write atomically, with a digest of everything. Raises BackendError where that fails."""
    arrays = {}
    for name, curvature in calibration.tensors.items():
        arrays[f"inputs/{name}"] = np.ascontiguousarray(curvature.inputs_II)
        arrays[f"outputs/{name}"] = np.ascontiguousarray(curvature.outputs)
        if curvature.linear_II is not None:
            arrays[f"linear/{name}"] = curvature.linear_II
        if curvature.parts:
            arrays[f"parts_inputs/{name}"] = np.stack([part.inputs_II for part in curvature.parts])
            arrays[f"parts_outputs/{name}"] = np.stack([part.outputs for part in curvature.parts])
    header = _Header(
        source_digest=calibration.source_digest, tokens=calibration.tokens, measured_on=calibration.measured_on,
        loss=calibration.loss, unigram=calibration.unigram, vectors=calibration.vectors, distinct=calibration.distinct,
        squares={name: curvature.gradient_square for name, curvature in calibration.tensors.items()},
    )  # fmt: skip
    about = to_saved(header)
    metadata = {"bytecap": json.dumps(about), "digest": _digest(about, arrays)}
    write_atomic(path, lambda temporary: save_file(arrays, temporary, metadata=metadata))


def load_calibration(path: Path, source_digest: str) -> Calibration:
    """Read a file of this version or an older one; DataError when it is damaged or was made from another checkpoint."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = parse_json(metadata["bytecap"])
        if metadata["digest"] != _digest(about, arrays):
            raise ValueError("its digest says that it was changed after it was written")
        header = from_saved(_Header, about, origin=f"{path} is not a calibration", remedy=_REMEDY, error=DataError)
        tensors = {name: keep(_curvature(arrays, name, square)) for name, square in header.squares.items()}
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path} is not a calibration ({type(error).__name__}: {error}); {_REMEDY}", path=str(path)
        ) from error
    if header.source_digest != source_digest:
        raise DataError(
            f"{path} was measured on checkpoint {header.source_digest}, this is {source_digest}; {_REMEDY}",
            path=str(path),
        )
    return Calibration(
        source_digest=header.source_digest, tokens=header.tokens, measured_on=header.measured_on, loss=header.loss,
        unigram=header.unigram, tensors=tensors, vectors=header.vectors, distinct=header.distinct,
    )  # fmt: skip


def _curvature(arrays: Mapping[str, Any], name: str, square: float) -> Curvature:
    inputs_II = arrays[f"inputs/{name}"]
    if inputs_II.ndim != 1 or inputs_II.dtype != np.float32:
        inputs_II = _matrix(arrays, f"inputs/{name}")
    linear_II = None if f"linear/{name}" not in arrays else _matrix(arrays, f"linear/{name}")
    outputs = arrays[f"outputs/{name}"]
    if outputs.ndim != 1 or outputs.dtype != np.float32:
        outputs = _matrix(arrays, f"outputs/{name}")
    return Curvature(
        inputs_II=inputs_II, outputs=outputs, gradient_square=square, linear_II=linear_II,
        parts=_parts(arrays, name, square) if f"parts_inputs/{name}" in arrays else (),
    )  # fmt: skip


def _parts(arrays: Mapping[str, Any], name: str, square: float) -> tuple[Curvature, ...]:
    """The curvature of each part of a weight; ValueError where the parts do not make up the whole."""
    inputs, outputs = arrays[f"parts_inputs/{name}"], arrays[f"parts_outputs/{name}"]
    whole = len(arrays[f"outputs/{name}"]), len(arrays[f"inputs/{name}"])
    known = inputs.dtype == outputs.dtype == np.float32 and inputs.ndim in (2, 3) and outputs.ndim in (2, 3)
    if not known or len(inputs) != len(outputs) or whole != (outputs.shape[0] * outputs.shape[1], inputs.shape[1]):
        raise ValueError(f"the parts of {name} do not make up its curvature")
    if any(one.ndim == 3 and one.shape[1] != one.shape[2] for one in (inputs, outputs)):
        raise ValueError(f"a part of {name} is no square matrix")
    return tuple(
        Curvature(inputs_II=a, outputs=g, gradient_square=square) for a, g in zip(inputs, outputs, strict=True)
    )


def _matrix(arrays: Mapping[str, Any], key: str) -> Any:
    """A square matrix of 32-bit floats; ValueError for anything else."""
    found = arrays[key]
    if found.dtype != np.float32 or found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ValueError(f"{key} is {found.dtype} of shape {found.shape}, which is no curvature")
    return found


def _digest(about: dict[str, Any], arrays: Mapping[str, Any]) -> str:
    return digest_json([about, digest_arrays(dict(sorted(arrays.items())))])
