"""GGUF's types: as the `gguf` package quantizes, and by llama.cpp's own quantizers."""

# ruff: noqa: PLC0415  (a peer is imported where it is run: an environment has only one)

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np

from peers.given import Arrays, Given, Made, Refused, Variant, vector_bytes


def gguf_file(given: Given, blocks: Arrays, types: dict[str, Any], folder: Path) -> bytes:
    """A GGUF file of the quantized blocks and the vectors."""
    import gguf

    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, "bytecap")
    for name, data in blocks.items():
        writer.add_tensor(name, data, raw_dtype=types[name])
    for name, values in given.vectors.items():
        writer.add_tensor(name, values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def gguf_made(given: Given, variant: Variant, quantize: Callable[[str, np.ndarray[Any, Any], Any], Any]) -> Made:
    """Every matrix through `quantize`, with its type from the variant: `type`, or `embedding` for the embedding."""
    import gguf

    blocks, types, floats, planes = {}, {}, {}, []
    for name, weight in given.matrices.items():
        asked = variant.get("embedding", variant["type"]) if name == "embedding" else variant["type"]
        kind = types[name] = gguf.GGMLQuantizationType[asked]
        size, width = gguf.GGML_QUANT_SIZES[kind]
        if weight.shape[1] % size:
            raise Refused(f"{name} has rows of {weight.shape[1]} weights, {asked} needs a multiple of {size}")
        blocks[name] = quantize(name, weight, kind)
        floats[name] = gguf.quants.dequantize(blocks[name], kind)
        planes.append(blocks[name].reshape(-1, width).T.tobytes())
    own = gguf_file(given, blocks, types, given.folder)
    return Made(own, b"".join(planes) + vector_bytes(given), floats)


def run_gguf(given: Given, variant: Variant) -> Made:
    """The `gguf` package's own quantizers."""
    import gguf

    return gguf_made(given, variant, lambda name, weight, kind: gguf.quants.quantize(weight, kind))


def run_ggml(given: Given, variant: Variant) -> Made:
    """llama.cpp's quantizers, from the shared library that the pywhispercpp package carries."""
    paths = [f.locate() for f in files("pywhispercpp") or [] if "libggml-base" in f.name]
    chunk = ctypes.CDLL(str(paths[0])).ggml_quantize_chunk
    pointer, long = ctypes.c_void_p, ctypes.c_int64
    chunk.restype, chunk.argtypes = ctypes.c_size_t, [ctypes.c_int, pointer, pointer, long, long, long, pointer]

    def quantize(name: str, weight: np.ndarray[Any, Any], kind: Any) -> np.ndarray[Any, Any]:
        import gguf

        size, width = gguf.GGML_QUANT_SIZES[kind]
        weight = np.ascontiguousarray(weight, np.float32)
        out = np.zeros((weight.shape[0], weight.shape[1] // size * width), np.uint8)
        importance = np.ascontiguousarray(given.importance[name], np.float32) if variant["importance"] else None
        where = None if importance is None else importance.ctypes.data
        written = chunk(int(kind), weight.ctypes.data, out.ctypes.data, 0, *weight.shape, where)
        assert written == out.nbytes
        return out

    return gguf_made(given, variant, quantize)
