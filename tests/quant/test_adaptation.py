"""The settings say which way weights are changed."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from bytecap.quant.adaptation import make_adapter
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.compensation import Compensator
from bytecap.quant.distillation import Distiller


def forward_fn(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Distributions over five labels."""
    return model(batch), torch.zeros(len(batch), dtype=torch.long)


@pytest.mark.parametrize(("steps", "kind"), [(0, Compensator), (3, Distiller)])
def test_distillation_comes_first(steps: int, kind: type) -> None:
    """Compensation reads as many batches as it is told to; both begin on batches without end."""
    model, config = nn.Linear(6, 5), QuantConfig(distill_steps=steps, compensation_tokens=99)
    assert config.adapts and not QuantConfig().adapts
    found = make_adapter(model, ["weight"], itertools.cycle([torch.randn(8, 6)]), forward_fn, config, 2)
    assert type(found) is kind
    if isinstance(found, Compensator):
        assert len(found._batches) == 2 and [e.name for group in found.groups for e in group] == ["weight"]
