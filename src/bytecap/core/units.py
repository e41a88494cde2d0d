"""Nats, bits and bytes: the only place where one becomes another."""

from __future__ import annotations

import math
import re

from bytecap.core.errors import ConfigError

_SIZES = {"": 1, "B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "KiB": 1_024, "MiB": 1_048_576}


def bits_per_byte(nats: float, text_bytes: int) -> float:
    """Bits of loss per byte of text, from summed nats and the bytes they were spent on."""
    return nats / (math.log(2.0) * text_bytes)


def compressed_bits_per_byte(size_bytes: int, text_bytes: int) -> float:
    """Bits per byte of a compressor that turned `text_bytes` into `size_bytes`."""
    return 8.0 * size_bytes / text_bytes


def bits_per_weight(size_bytes: int, weights: int) -> float:
    """Stored bits per weight, everything in `size_bytes` included."""
    return 8.0 * size_bytes / weights


def parse_bytes(text: str) -> int:
    """Bytes from `250000`, `16MB` (decimal) or `16MiB` (binary); ConfigError otherwise."""
    match = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2] not in _SIZES:
        units = ", ".join(name for name in _SIZES if name)
        raise ConfigError(f"{text!r} is not a size in bytes; write a number with one of {units}, such as 16MB")
    return int(float(match[1].replace("_", "").replace(",", "")) * _SIZES[match[2]])
