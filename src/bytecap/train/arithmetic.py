"""What a run's products and attention are computed by: asked of the machine once, and kept in the run's state.

In:   settings, a model, a device.
Out:  the precision of products, the implementation of attention, and the most documents that a compiled graph takes.

Letters: B sequences, T positions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bytecap.core.device import autocast
from bytecap.core.errors import BackendError
from bytecap.core.products import has_bfloat16
from bytecap.core.progress import Progress
from bytecap.model.attention_choice import AttentionChoice, choose_attention
from bytecap.model.gpt import GPT
from bytecap.text.shards import TokenStream
from bytecap.train.checkpoint import TrainingState
from bytecap.train.config import BFLOAT16

if TYPE_CHECKING:
    from bytecap.train.loop import TrainingJob

_SURVEYED = 1 << 20
"""Tokens of the text in which documents are counted before the first step."""
_MARGIN = 1.5
"""Capacity, as a multiple of the documents that those lead to expect."""
_MOST = 65_535
"""Segments that the kernel's launch can number."""


class DocumentCapacity:
    """The most documents that a compiled graph takes: powers of two, so that a graph serves nearly every batch.

    A batch with more of them gets a graph for more, compiled while the clock runs; no later one of its shape has
    less. `stream` tells how often documents begin in the text.
    """

    def __init__(self, stream: TokenStream, bos: int) -> None:
        token_N = stream.read(0, min(len(stream), _SURVEYED))
        self._bos, self._share = bos, float((token_N == bos).mean())
        self._capacity: dict[torch.Size, int] = {}

    def __call__(self, rows_BT: Tensor) -> int:
        """Capacity for the documents of rows (B, T + 1) on the CPU, whose last column is no input."""
        rows, positions = len(rows_BT), rows_BT.size(1) - 1
        needed = rows + int((rows_BT[:, 1:-1] == self._bos).sum())
        capacity = self._capacity.get(rows_BT.shape, 0)
        if needed > capacity:
            expected = rows + _MARGIN * self._share * rows * positions
            power = 1 << (max(needed, math.ceil(expected)) - 1).bit_length()
            capacity = self._capacity[rows_BT.shape] = max(needed, min(power, _MOST))
        return capacity


class Arithmetic(NamedTuple):
    """What computes the steps of a run on this machine."""

    precision: str
    """What the operands of products are."""
    attention: AttentionChoice
    capacity: DocumentCapacity | None
    """Only of variable-length attention; None for any other."""

    def noted_in(self, state: TrainingState) -> TrainingState:
        """The state with what this machine adds to all that the run has met."""
        precisions, attention = (*state.matmul_precisions, self.precision), (*state.attention, str(self.attention))
        return dataclasses.replace(
            state, matmul_precisions=tuple(dict.fromkeys(precisions)), attention=tuple(dict.fromkeys(attention))
        )


def choose_arithmetic(job: TrainingJob, model: GPT, device: torch.device, progress: Progress) -> Arithmetic:
    """What the settings ask for where this machine has it; what it lacks, and attention on a GPU, is noted."""
    precision: str = BFLOAT16 if device.type == "cuda" else job.config.matmul_precision
    if precision == BFLOAT16 and device.type == "cpu" and not has_bfloat16():
        progress.note("this processor has no bfloat16 products, so those of training are float32")
        precision = "float32"
    spec = model.spec
    with autocast(device):
        attention = choose_attention(
            model.embedding, queries=job.config.context, d_head=spec.d_head, plain=spec.across_documents
        )
    if device.type == "cuda":
        progress.note(f"attention: {attention}")
    capacity = DocumentCapacity(job.stream, job.bos) if attention.kind == "varlen" else None
    return Arithmetic(precision, attention, capacity)


@contextmanager
def compiling() -> Iterator[None]:
    """Turn what the compiler cannot do on this machine into a BackendError that says how to go on without it."""
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415  (imports the compiler)

    try:
        yield
    except TorchDynamoException as error:
        said = " ".join(str(error).split())[:200]
        raise BackendError(
            f"the model cannot be compiled on this machine ({said}); go on without with --set train.compile=false"
        ) from error
