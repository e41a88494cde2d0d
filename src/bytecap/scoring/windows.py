"""Which positions are scored with which context, each exactly once.

In:   N targets (a stream of N + 1 tokens), context C, stride S <= C.
Out:  windows (start, length, skip): inputs start .. start + length - 1, of which the first `skip` are context only.

The first window scores all its positions; each later one moves on by S and scores only the S new ones; what is left
at the end is scored once by a window that ends with the stream. S = C is the plain, non-overlapping way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from bytecap.core.errors import ConfigError


class Window(NamedTuple):
    """Inputs `start` to `start + length - 1`; the first `skip` positions are not scored."""

    start: int
    length: int
    skip: int


class ScoredSpan(NamedTuple):
    """Losses of neighbouring targets, which are the tokens behind inputs `first`, `first + 1`, ..."""

    number: int
    """Which window it is, or which part of the stream: what is summed together."""
    first: int
    loss_T: torch.Tensor
    """Nats, float64 on CPU."""
    tokens_T: np.ndarray[Any, Any]
    """The inputs, and the last target."""


def check_stride(stride: int, context: int) -> None:
    """Raise ConfigError for a stride outside 1 .. context."""
    if not 1 <= stride <= context:
        raise ConfigError(f"the stride is {stride}; it must lie between 1 and the context, {context}")


def count_windows(targets: int, *, context: int, stride: int) -> int:
    """How many windows `windows` gives."""
    return min(1, targets) + max(0, -((context - targets) // stride))


def windows(targets: int, *, context: int, stride: int) -> Iterator[Window]:
    """All windows in order. ConfigError for a stride outside 1 .. context."""
    check_stride(stride, context)
    length = min(context, targets)
    if length:
        yield Window(0, length, 0)
    scored = length
    while scored < targets:
        new = min(stride, targets - scored)
        # A plain tail has no earlier positions to lean on; a sliding one keeps its full context.
        start = scored if stride == context else scored + new - context
        yield Window(start, scored + new - start, scored - start)
        scored += new
