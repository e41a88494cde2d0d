"""Nats, bits and bytes: the only place where one becomes another. Also numbers with their nouns."""

from __future__ import annotations

import math
import re

from bytecap.core.errors import ConfigError

MAX_DIGITS = 15
"""Digits of a size before its point: so many are exact in a float."""
_SIZES = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip


def bits_per_byte(nats: float, text_bytes: int) -> float:
    """Bits of loss per byte of text, from summed nats and the bytes they were spent on."""
    return nats / (math.log(2.0) * text_bytes)


def compressed_bits_per_byte(size_bytes: int, text_bytes: int) -> float:
    """Bits per byte of a compressor that turned `text_bytes` into `size_bytes`."""
    return 8.0 * size_bytes / text_bytes


def bits_per_weight(size_bytes: int, weights: int) -> float:
    """Stored bits per weight, everything in `size_bytes` included."""
    return 8.0 * size_bytes / weights


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, and with a verb where it has one; `many` is the plural, where an s is not enough.

    >>> counted(1, "tensor"), counted(1200, "tensor")
    ('1 tensor', '1,200 tensors')
    >>> counted(1, "matrix is", "matrices are"), counted(2, "matrix is", "matrices are")
    ('1 matrix is', '2 matrices are')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def parse_bytes(text: str) -> int:
    """Bytes from `250000`, `2.5e5`, `16MB` (decimal) or `16MiB` (binary); ConfigError otherwise."""
    number = r"([0-9]+(?:_[0-9]+)*|[0-9]{1,3}(?:,[0-9]{3})+)(\.[0-9]+)?(?:[eE]\+?([0-9]{1,2}))?"
    match = re.fullmatch(rf"\s*{number}\s*([A-Za-z]*)\s*", text)
    if match is None or match[4] not in _SIZES:
        meant = next((unit for unit in _SIZES if match is not None and unit.lower() == match[4].lower()), None)
        units = ", ".join(unit for unit in _SIZES if unit)
        hint = "" if meant is None else f" (did you mean {meant}?)"
        raise ConfigError(f"{text!r} is not a size in bytes{hint}; write a number with one of {units}, such as 16MB")
    whole = match[1].replace("_", "").replace(",", "")
    power = int(match[3] or 0)
    if len(whole) + power > MAX_DIGITS:
        raise ConfigError(
            f"a size of {len(whole) + power} digits is no size of a file; at most {MAX_DIGITS} digits are read"
        )
    return round(float(f"{whole}{match[2] or ''}e{power}") * _SIZES[match[4]])
