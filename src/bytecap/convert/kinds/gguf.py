"""GGUF files of llama.cpp and others: floats as they are, quantized tensors as the float32 numbers that they stand for.

Names are GGUF's (`blk.0.attn_q.weight`). Rows of queries and keys of a Llama model stand in GGUF's order there.
Source:  the `gguf` package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.convert.tensors import from_array
from bytecap.core.errors import DataError


class GGUF(Kind):
    """Every tensor of the file."""

    title = "a GGUF file"
    suffixes: ClassVar[tuple[str, ...]] = (".gguf",)
    library = "gguf"
    extra = "gguf"
    growth = 24  # a type of 1.56 bits becomes 32
    is_one_table = True

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """Each tensor, dequantized where it has to be."""
        import gguf  # noqa: PLC0415  (an optional library)

        table: dict[str, Any] = {}
        for tensor in gguf.GGUFReader(path).tensors:
            shape = [int(size) for size in reversed(tensor.shape)]
            limit.take(tensor.name, shape, 4)
            if tensor.name in table:
                raise DataError(f"{path} holds two tensors called {tensor.name[:80]}; get the file again")
            if tensor.tensor_type == gguf.GGMLQuantizationType.BF16:
                value = torch.from_numpy(np.array(tensor.data)).view(torch.bfloat16).reshape(shape)
            elif tensor.data.dtype == np.uint8:
                value = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type)).reshape(shape)
            else:
                value = from_array(tensor.name, np.array(tensor.data)).reshape(shape)
            table[tensor.name] = value
        return table
