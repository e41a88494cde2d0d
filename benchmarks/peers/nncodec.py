"""nncodec: DeepCABAC with trellis-coded quantization (ISO/IEC 15938-17)."""

# ruff: noqa: PLC0415  (a peer is imported where it is run: an environment has only one)

from __future__ import annotations

import sys
import tempfile
import types
from typing import Any, ClassVar

import numpy as np

from peers.given import Given, Made, Variant


def run_nncodec(given: Given, variant: Variant) -> Made:
    """One bit stream of everything, vectors with a finer step."""
    _without_torchvision()
    from nncodec import nnc

    model = {n: np.ascontiguousarray(w, np.float32) for n, w in given.matrices.items()}
    model |= {n: v.astype(np.float32).reshape(-1) for n, v in given.vectors.items()}
    with tempfile.TemporaryDirectory() as folder:
        own = nnc.compress(
            model, bitstream_path=f"{folder}/model.nnc", qp=variant["qp"], nonweight_qp=variant["vector_qp"],
            qp_per_tensor=variant.get("qp_per_tensor"), use_dq=True, opt_qp=variant.get("opt_qp", False),
            lambda_scale=variant.get("lambda_scale", 0), row_skipping=True, return_bitstream=True, verbose=False,
        )  # fmt: skip
    back = nnc.decompress(own)
    shapes = {n: a.shape for n, a in {**given.matrices, **given.vectors}.items()}
    return Made(bytes(own), b"", {n: np.asarray(back[n], np.float32).reshape(s) for n, s in shapes.items()})


def _without_torchvision() -> None:
    """nncodec imports torchvision for image data sets, which are not used here and must fit torch's build."""

    class Absent(types.ModuleType):
        __path__: ClassVar[list[str]] = []

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {"__init__": lambda self, *a, **k: None})

    parts = {part: Absent(f"torchvision.{part}") for part in ("datasets", "transforms", "models")}
    whole = sys.modules["torchvision"] = Absent("torchvision")
    for part, module in parts.items():
        setattr(whole, part, module)
        sys.modules[module.__name__] = module
