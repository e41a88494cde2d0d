"""A quantized model: stored tensors that give back the same floats on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bytecap.formats.floats import FloatTensor
from bytecap.formats.low_rank_corrected import LowRankCorrected
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.per_tensor import PerTensorQuantized
from bytecap.formats.row_column import RowColumnQuantized

MAX_SYMBOL = 32_767
MAX_WIDTH, MAX_NUMBERS_OF_A_BYTE = 1 << 24, 1 << 11
"""Numbers of an axis, and of all tensors for each byte of their file, so that no small file asks for all memory."""

StoredTensor = RowColumnQuantized | PerChannelQuantized | LowRankCorrected | PerTensorQuantized | FloatTensor


@dataclass(frozen=True)
class QuantizedModel:
    """A model ready to be packed: each stored tensor, in the model's order."""

    tensors: dict[str, StoredTensor]

    def state_dict(self) -> dict[str, Tensor]:
        """The weights that the model loads, by name."""
        return {name: torch.from_numpy(tensor.weights()) for name, tensor in self.tensors.items()}

    @property
    def weights(self) -> int:
        """Number of stored parameters."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())
