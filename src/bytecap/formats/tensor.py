"""A quantized model: stored tensors by name.

In:   stored tensors.
Out:  the weights that a model loads, and how large a file of them must at least be to be read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bytecap.formats.base import StoredTensor
from bytecap.formats.table import format_of, min_file_bytes


@dataclass(frozen=True)
class QuantizedModel:
    """A model ready to be packed: each stored tensor, in the model's order."""

    tensors: dict[str, StoredTensor]
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further names of tensors that are stored once, each with the name in `tensors`."""

    def state_dict(self) -> dict[str, Tensor]:
        """The weights that the model loads, by name; under each of two names a tensor has numbers of its own."""
        stored = {name: torch.from_numpy(tensor.weights()) for name, tensor in self.tensors.items()}
        return stored | {name: stored[known].clone() for name, known in self.aliases.items()}

    @property
    def weights(self) -> int:
        """Number of stored parameters."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def min_file_bytes(self) -> int:
        """How large a file of these tensors must be to be read, whatever they hold."""
        everything = [*self.tensors.values(), *(self.tensors[known] for known in self.aliases.values())]
        found = ((format_of(tensor), tensor) for tensor in everything)
        return min_file_bytes((stored.name, tensor.shape, stored.detail(tensor)) for stored, tensor in found)
