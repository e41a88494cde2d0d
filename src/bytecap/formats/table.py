"""Every stored format, by the name that files and plans give it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from bytecap.formats import floats, low_rank_corrected, per_channel, per_group, per_tensor, row_column
from bytecap.formats.base import StoredFormat, StoredTensor
from bytecap.formats.size_estimate import SizeEstimate

_FILES = (row_column, per_group, per_tensor, per_channel, low_rank_corrected, floats)
FORMATS: dict[str, StoredFormat[Any]] = {found.name: found for file in _FILES for found in file.FORMATS}


FREE_WEIGHTS, WEIGHTS_PER_BYTE = 1 << 21, 1 << 7
"""Weights that any file may have, and more for each of its bytes, so that no small file asks for all memory."""
FREE_SERIAL, SERIAL_PER_BYTE = 1 << 19, 1 << 5
"""The same of integers that are decoded one at a time, so that no small file takes minutes."""


def min_file_bytes(tensors: Iterable[tuple[str, tuple[int, ...], int]]) -> int:
    """How large a file must be for tensors of these formats, shapes and details to be read from it."""
    weights = serial = 0
    for name, shape, detail in tensors:
        weights += math.prod(shape)
        serial += FORMATS[name].serial_numbers(shape, detail)
    needed = max((weights - FREE_WEIGHTS) / WEIGHTS_PER_BYTE, (serial - FREE_SERIAL) / SERIAL_PER_BYTE, 0)
    return math.ceil(needed)


def format_of(tensor: StoredTensor) -> StoredFormat[Any]:
    """The format that stores a tensor."""
    return next(found for found in FORMATS.values() if found.stores(tensor))


def estimate_size(tensor: StoredTensor) -> SizeEstimate:
    """The bytes that a tensor will take, by itself."""
    return format_of(tensor).estimate(tensor)
