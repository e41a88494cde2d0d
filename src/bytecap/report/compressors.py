"""What general compressors make of the held-out text: the scale on which a model's bits per byte are read.

In:   documents.
Out:  bits per byte of gzip -9, xz -9e and zstd -19, as one file and each document alone; where the text is long of an
      even sample, whose size is reported.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from bytecap.coding.general import import_lzma, import_zstandard
from bytecap.core.progress import Progress
from bytecap.core.units import compressed_bits_per_byte

MAX_DOCUMENTS, MAX_BYTES = 1_000, 16_000_000
"""The most that is compressed: some 20 s for the documents alone, as much again for all in one."""
SAMPLE = "sample"
"""Key of the sample's size among the figures."""


def compressor_baselines(documents: Sequence[str], progress: Progress) -> dict[str, dict[str, float]]:
    """Bits per byte by way (`whole`, `per_document`) and compressor, and the `sample` that they are of.

    The sample takes every so many-th document, the first included; it is all of them up to `MAX_DOCUMENTS` and
    `MAX_BYTES`. Empty for no documents.
    """
    data = [document.encode() for document in documents if document]
    if not data:
        return {}
    chosen = data[:: max(_parts(len(data), MAX_DOCUMENTS), _parts(sum(map(len, data)), MAX_BYTES))]
    if len(chosen) < len(data):
        progress.note(f"compressors are tried on {len(chosen):,} of {len(data):,} held-out documents")
    size, apart = sum(map(len, chosen)), dict[str, int]()
    for index, document in enumerate(chosen):
        progress.update(index, 2 * len(chosen), f"{index:,} documents compressed alone")
        for name, compressed in baseline_sizes(document).items():
            apart[name] = apart.get(name, 0) + compressed
    progress.update(1, 2, "all documents compressed as one file")
    whole = baseline_sizes(b"".join(chosen))
    return {
        "whole": {name: compressed_bits_per_byte(compressed, size) for name, compressed in whole.items()},
        "per_document": {name: compressed_bits_per_byte(compressed, size) for name, compressed in apart.items()},
        SAMPLE: {
            "documents": len(chosen), "of_documents": len(data), "bytes": size, "of_bytes": sum(map(len, data)),
        },
    }  # fmt: skip


def baseline_sizes(data: bytes) -> dict[str, int]:
    """Bytes of `data` through gzip -9, xz -9e and zstd -19.

    The dictionary of xz is no larger than the data, which changes no size and saves most of the time on short ones.
    """
    zstd, lzma = import_zstandard().ZstdCompressor(level=19), import_lzma()
    preset = 9 | lzma.PRESET_EXTREME
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": min(max(len(data), 4096), 1 << 26)}]
    return {
        "gzip": len(gzip.compress(data, 9, mtime=0)),
        "xz": len(lzma.compress(data, filters=filters)),
        "zstd-19": len(zstd.compress(data)),
    }


def _parts(amount: int, most: int) -> int:
    return -(-amount // most)
