"""Which way weights are changed while a model is rounded: trained, or corrected by least squares.

In:   a model, endless batches, a forward function, the settings.
Out:  a Distiller or a Compensator.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from typing import Any

from torch import nn

from bytecap.quant.allocation import QuantConfig
from bytecap.quant.compensation import Compensator
from bytecap.quant.distillation import Distiller
from bytecap.quant.outputs import ForwardFn

Adapter = Distiller | Compensator


def make_adapter(
    model: nn.Module, names: Collection[str], batches: Iterator[Any], forward_fn: ForwardFn, config: QuantConfig,
    count: int,
) -> Adapter:  # fmt: skip
    """What `config` asks for, distillation first; compensation reads `count` batches, distillation has no end."""
    if config.distill_steps:
        return Distiller(model, names, batches, forward_fn, steps=config.distill_steps)
    return Compensator(model, names, list(itertools.islice(batches, count)), forward_fn)
