"""What a stored weight is: integers and steps that give back floats, the same on every machine.

Letters: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bytecap.formats.low_rank import LowRank
from bytecap.formats.steps import make_steps
from bytecap.formats.trellis import to_levels

MAX_SYMBOL = 32_767
MAX_EVEN = 1 << 20
"""Numbers of one even tensor; they are coded one at a time."""
MAX_WIDTH, MAX_NUMBERS_OF_A_BYTE = 1 << 24, 1 << 11
"""Numbers of an axis, and of all tensors for each byte of their file, so that no small file asks for all memory."""


@dataclass(frozen=True)
class SteppedTensor:
    """weight[o, i] = level[o, i] * step[o, i], with the step from a base, a row code and a column code."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    base: float
    row_codes_O: npt.NDArray[np.int8]
    column_codes_I: npt.NDArray[np.int8]
    states: int
    """States of the trellis; 1 for none."""
    width_axes: int = 0
    """Axes of size 1 behind the columns, as convolutions of width 1 have them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I), or (O, I, 1) and so on."""
        return (*self.symbols_OI.shape, *[1] * self.width_axes)

    def steps(self) -> npt.NDArray[np.float32]:
        """(O, I)."""
        return make_steps(self.base, self.row_codes_O, self.column_codes_I)

    def weights(self) -> Tensor:
        """(O, I), float32; one product of two float32 numbers, so the result is exact to the bit."""
        levels_OI = to_levels(self.symbols_OI, self.states)
        return torch.from_numpy(levels_OI.astype(np.float32) * self.steps()).reshape(self.shape)


@dataclass(frozen=True)
class ScaledTensor:
    """weight[o, i] = symbols[o, i] * scale[o], the form of the published runs."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    scales_O: npt.NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return self.symbols_OI.shape

    def weights(self) -> Tensor:
        """(O, I), float32."""
        return torch.from_numpy(self.symbols_OI.astype(np.float32) * self.scales_O.astype(np.float32)[:, None])


@dataclass(frozen=True)
class LowRankCorrectedTensor:
    """A scaled tensor with a low-rank addition."""

    scaled: ScaledTensor
    repair: LowRank

    @property
    def role(self) -> str:
        """Of the scaled tensor."""
        return self.scaled.role

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return self.scaled.shape

    def weights(self) -> Tensor:
        """(O, I), float32; one sum of two float32 numbers, so the result is exact to the bit."""
        return self.scaled.weights() + torch.from_numpy(self.repair.correction())


@dataclass(frozen=True)
class EvenTensor:
    """weight = symbol * step, one step for a tensor of any shape."""

    role: str
    symbols: npt.NDArray[np.int16]
    step: float

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored."""
        return self.symbols.shape

    def weights(self) -> Tensor:
        """float32; one product of two float32 numbers, so the result is exact to the bit."""
        return torch.from_numpy(self.symbols.astype(np.float32) * np.float32(self.step))


@dataclass(frozen=True)
class FloatTensor:
    """A tensor of any shape, stored as it is at 16 or 32 bits."""

    role: str
    values: npt.NDArray[np.float16] | npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored."""
        return self.values.shape

    def weights(self) -> Tensor:
        """float32."""
        return torch.from_numpy(self.values.astype(np.float32))


StoredTensor = SteppedTensor | ScaledTensor | LowRankCorrectedTensor | EvenTensor | FloatTensor


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
