"""Our own models on tokens: curvature measured, distillation begun, windows to compare on.

In:   a model and a stream of tokens.
Out:  a Calibration, what adapts unquantized weights, windows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bytecap.core.distributed import alone, world
from bytecap.core.errors import DataError
from bytecap.core.progress import Progress
from bytecap.fitting.sequential import StartAdaptation
from bytecap.model.gpt import GPT
from bytecap.quant.adaptation import Adapter, make_adapter
from bytecap.quant.allocation import MIN_CALIBRATION_TOKENS, MODEL, QuantConfig
from bytecap.quant.calibration import CalibrationOptions, calibrate
from bytecap.quant.outputs import ForwardFn
from bytecap.quant.statistics import Calibration
from bytecap.text.batches import TrainBatches
from bytecap.text.shards import TokenStream

BATCH_TOKENS = 2_048
MAX_BATCH_LOGITS = 1 << 25
"""Logits of a batch where the vocabulary is large: about a dozen tensors of their size are needed to measure one."""
DISTILL_SEED = 1_000_003
"""Added to a seed for the order in which text is distilled on."""


@dataclass(frozen=True)
class CalibrationText:
    """Tokens that our own models are measured and distilled on."""

    stream: TokenStream
    bos: int
    """Id that begins each document."""
    context: int
    """Positions of a window."""
    seed: int
    """Seed of the order of windows and of the labels that are drawn."""


def measure(
    model: GPT, text: CalibrationText, config: QuantConfig, source_digest: str, progress: Progress
) -> Calibration:
    """Measure the curvature of every weight on windows of a text; DataError where it is too short.

    Several processes share the batches. Labels are drawn from a seed of each batch, so that they are the same
    whichever process measures it.
    """
    available = len(text.stream)
    if available < MIN_CALIBRATION_TOKENS:
        raise DataError(
            f"the calibration text has {available:,} tokens, at least {MIN_CALIBRATION_TOKENS:,} are needed (and "
            f"{config.calibration_tokens:,} are better); give more text",
            tokens=available,
        )
    steps, batch, context = batch_shape(available, config.calibration_tokens, text.context)
    device = next(model.parameters()).device
    source, generator = TrainBatches(text.stream, batch=batch, context=context, seed=text.seed), torch.Generator(device)
    with contextlib.nullcontext() if steps >= world().size else alone():  # where some would have none, each does all
        mine = world().share(steps)

        def my_rows() -> Iterator[Tensor]:
            for number in range(steps):
                rows = source.next()
                if number in mine:
                    generator.manual_seed(text.seed + number)
                    yield torch.from_numpy(rows).to(device)

        options = CalibrationOptions(
            sampled=config.labels == MODEL, generator=generator, total_tokens=len(mine) * batch * context
        )
        return calibrate(
            model, my_rows(), _make_forward_fn(text.bos), source_digest=source_digest, progress=progress,
            options=options,
        )  # fmt: skip


def make_adaptation(model: GPT, text: CalibrationText, config: QuantConfig) -> StartAdaptation | None:
    """The distillation or compensation that is asked for, on windows in another order than they are measured in."""
    if not config.adapts:
        return None
    wanted = config.distill_steps * BATCH_TOKENS or config.compensation_tokens
    count, batch, context = batch_shape(len(text.stream), wanted, text.context)

    def begin(names: list[str]) -> Adapter:
        device = next(model.parameters()).device
        rows = text_windows(text.stream, batch=batch, context=context, seed=text.seed + DISTILL_SEED, device=device)
        return make_adapter(model, names, rows, _make_forward_fn(text.bos), config, count)

    return begin


def note_worse_than_guessing(found: Calibration, vocab_size: int, progress: Progress) -> None:
    """Say so where the model, before any fitting, tells nothing about the text that it was measured on."""
    if found.loss > (guessing := math.log(max(vocab_size, 2))):
        progress.note(
            f"before any fitting the model loses {found.loss:.2f} nats per token on this text, more than guessing "
            f"({guessing:.2f}): is it the model's language, and the tokenizer it was trained with?"
        )


def text_windows(stream: TokenStream, *, batch: int, context: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Endless (B, T + 1) windows of a text in the order of a seed."""
    source = TrainBatches(stream, batch=batch, context=context, seed=seed)
    while True:
        yield torch.from_numpy(source.next()).to(device)


def _make_forward_fn(bos: int) -> ForwardFn:
    """Logits (N, V) and labels (N,) of our models for (B, T + 1) windows."""

    def forward_fn(model: nn.Module, rows_BT: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(model, GPT)
        tokens_BT, target_BT = rows_BT[:, :-1], rows_BT[:, 1:]
        return model.logits(model.hidden(tokens_BT, bos)).flatten(0, 1), target_BT.flatten()

    return forward_fn


def batch_positions(vocab_size: int | None, most: int = BATCH_TOKENS) -> int:
    """Positions of a batch, fewer than `most` where each of them has very many logits."""
    return max(1, min(most, MAX_BATCH_LOGITS // max(vocab_size or 1, 1)))


def batch_shape(available: int, wanted: int, context: int, positions: int = BATCH_TOKENS) -> tuple[int, int, int]:
    """Batches, windows in each, positions of a window, for about `wanted` tokens and `positions` in a batch."""
    context = min(context, (available - 1) // 3)
    batch = max(1, min(positions, available) // context)
    return max(1, min(wanted, available) // (batch * context)), batch, context


def comparison_windows(
    stream: TokenStream, *, tokens: int, context: int, device: torch.device, positions: int = 4 * BATCH_TOKENS
) -> Iterator[Tensor]:
    """Evenly spaced windows (B, T + 1) that do not overlap, about `tokens` of a stream in all, `positions` at once."""
    context = min(context, (len(stream) - 1) // 2)  # two windows at least, for an interval
    count = max(1, min(tokens, len(stream) - 1) // context)
    starts = np.linspace(0, len(stream) - context - 1, count).astype(int).tolist()
    batch = max(1, positions // context)
    for begin in range(0, count, batch):
        rows = [stream.read(start, context + 1) for start in starts[begin : begin + batch]]
        yield torch.from_numpy(np.stack(rows)).to(device)
