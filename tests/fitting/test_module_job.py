"""Which batches a module is measured on, and which are kept apart."""

import torch
from torch import Tensor, nn

from bytecap.core.budget import FileBudget
from bytecap.core.progress import Silent
from bytecap.fitting.module_job import ModuleInputs, make_module_job
from bytecap.quant.allocation import QuantConfig


def test_batches_kept_apart() -> None:
    """Of few different positions the last quarter of the batches is not measured on; of an iterator none is kept."""
    torch.manual_seed(0)
    model, batches, seen = nn.Linear(4, 3), [torch.randn(64, 4) for _ in range(8)], []

    def loss(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            seen.append(next(i for i, batch in enumerate(batches) if batch is x))
        return model(x), torch.zeros(len(x), dtype=torch.long)

    config = QuantConfig(calibration_tokens=448, states=4)
    job = make_module_job(model, ModuleInputs(batches, loss, config, 0), FileBudget(900), Silent())
    assert seen == [*range(7), *range(6)]  # 7 are enough, of which one is kept
    assert job.calibration is not None and job.calibration.tokens == 384
    seen.clear()
    make_module_job(model, ModuleInputs(iter(batches), loss, config, 0), FileBudget(900), Silent())
    assert seen == [*range(7)]
