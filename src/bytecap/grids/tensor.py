"""What a stored weight is: integers and steps that give back floats, the same on every machine.

Letters: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bytecap.grids.grid import steps_of

MAX_SYMBOL = 32_767


@dataclass(frozen=True)
class QuantizedTensor:
    """weight[o, i] = symbols[o, i] * step[o]; one product in float32, so the result is exact to the bit."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    row_codes_O: npt.NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return self.symbols_OI.shape

    def weights(self) -> Tensor:
        """(O, I), float32."""
        values: npt.NDArray[np.float32] = self.symbols_OI.astype(np.float32) * steps_of(self.row_codes_O)[:, None]
        return torch.from_numpy(values)


@dataclass(frozen=True)
class Float16Tensor:
    """A tensor of any shape at 16 bits."""

    role: str
    values: npt.NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored."""
        return self.values.shape

    def weights(self) -> Tensor:
        """float32."""
        return torch.from_numpy(self.values.astype(np.float32))


StoredTensor = QuantizedTensor | Float16Tensor


@dataclass(frozen=True)
class QuantizedModel:
    """A model ready to be packed: each stored tensor, in the model's order."""

    tensors: dict[str, StoredTensor]

    def state_dict(self) -> dict[str, Tensor]:
        """The weights that the model loads, by name."""
        return {name: tensor.weights() for name, tensor in self.tensors.items()}

    @property
    def weights(self) -> int:
        """Number of stored parameters."""
        return sum(int(np.prod(tensor.shape)) for tensor in self.tensors.values())
