"""How far a fitted file is from what is possible: the rate-distortion bound, and what its coder adds to the entropy.

In:   weights, curvature, errors; files and quantized models.
Out:  bits per weight of the bound; ratios of bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bytecap.artifact.load import loads
from bytecap.coding.adaptive import encode_arrays
from bytecap.coding.blocks import Block, encode_blocks, fit_rms_classes
from bytecap.coding.cost import entropy_bytes
from bytecap.coding.general import BROTLI, compress
from bytecap.coding.planes import is_wide, to_planes
from bytecap.fitting.source import WeightSource
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.per_tensor import PerTensorQuantized
from bytecap.formats.row_column import RowColumnQuantized, make_block
from bytecap.formats.tensor import QuantizedModel
from bytecap.formats.trellis import SCALAR, next_states
from bytecap.quant.statistics import Calibration


def bound(part: WeightSource, curvature: Calibration, error: dict[str, np.ndarray[Any, Any]]) -> tuple[float, float]:
    """(bits per weight of the two-sided bound at this error, the error in nats per token).

    Gaussian reverse water-filling over the eigenvalues of ½ (S_r G S_r) ⊗ (S_c A S_c), all weights jointly; S are the
    rank-one standard deviations of the weights.
    """
    distortion, spectra = 0.0, []
    for name, e in error.items():
        entry, weight = curvature.tensors[name], part.weights[name].astype(np.float64)
        A, G = entry.inputs_II.astype(np.float64), entry.outputs.astype(np.float64)
        G = np.diag(G) if G.ndim == 1 else G
        distortion += 0.5 * float(np.sum((G @ e @ A) * e))
        rows, columns = (weight**2).mean(axis=1), (weight**2).mean(axis=0)
        scaled = [np.sqrt(np.outer(v, v)) * m for v, m in ((rows, G), (columns / columns.mean(), A))]
        values = [np.maximum(np.linalg.eigvalsh(m), 1e-20) for m in scaled]
        spectra.append(0.5 * np.outer(*values).ravel())
    spectrum = np.concatenate(spectra)
    low, high = -100.0, 40.0
    for _ in range(60):
        theta = (low + high) / 2
        low, high = (low, theta) if np.minimum(spectrum, 2.0**theta).sum() > distortion else (theta, high)
    return float(0.5 * np.maximum(0, np.log2(spectrum) - theta).mean()), distortion


def class_entropy_ratio(data: bytes) -> float:
    """Bytes of the file over the entropy of its integers within each rms class and coset, vectors at theirs."""
    artifact = loads(data)
    ideal = 0.0
    counts: dict[Any, Any] = {}
    for tensor in artifact.quantized.tensors.values():
        if isinstance(tensor, PerTensorQuantized):
            counts.setdefault(("vectors", 0), []).append(tensor.symbols.reshape(-1))
            continue
        if not isinstance(tensor, RowColumnQuantized):
            ideal += 2 * math.prod(tensor.shape)
            continue
        block = make_block(tensor)
        contexts = 2 * block.classes.every() + block.cosets_OI
        for context in np.unique(contexts):
            counts.setdefault((tensor.role, int(context)), []).append(tensor.symbols_OI[contexts == context])
    for parts in counts.values():
        ideal += entropy_bytes(np.concatenate(parts))
    return len(data) / ideal


def coder_ratio(model: QuantizedModel) -> float:
    """The published model's integers through our coder, scales of its own included, over brotli-11 on byte planes."""
    roles: dict[str, list[PerChannelQuantized]] = {}
    for tensor in model.tensors.values():
        if isinstance(tensor, PerChannelQuantized):
            roles.setdefault(tensor.role, []).append(tensor)
    ours, theirs, classes = 0, 0, []
    for tensors in roles.values():
        blocks = []
        for tensor in tensors:
            found = fit_rms_classes(tensor.symbols_OI, next_states(SCALAR))
            blocks.append(Block(tensor.symbols_OI, np.zeros(tensor.shape, np.uint8), found))
            classes += [found.rows_O, found.columns_I]
        ours += len(encode_blocks(blocks))
        planes = b"".join(to_planes(t.symbols_OI, wide=is_wide(t.symbols_OI)) for t in tensors)
        theirs += len(compress(BROTLI, planes))
    return (ours + len(encode_arrays(classes))) / theirs
