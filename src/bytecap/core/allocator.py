"""Keep freed memory inside the process, so that a training step does not fault in fresh pages again and again.

A step on CPU frees and takes back the same large tensors; by default glibc returns each of them to the kernel. Measured
in docs/lab_notes.md. Nothing happens where the C library is not glibc.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LIMIT = 1 << 30


def keep_freed_memory() -> bool:
    """Raise glibc's thresholds for returning memory; False where that cannot be done."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LIMIT) and mallopt(_M_TRIM_THRESHOLD, _LIMIT))
