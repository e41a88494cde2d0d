"""Every step is that of SGD on three logarithms, the model's hidden states given."""

from pathlib import Path

import torch
from torch import Tensor

from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.softcap_temperature import SoftcapTemperatureConfig
from tests.contracts.adaptations import BOS
from tests.scoring.adaptations.twin import CHUNK, check_twin, slow_nats


def test_slow_twin(tmp_path: Path) -> None:
    """Caps above and below zero, temperature."""

    def twin(model: GPT, ids: list[int]) -> float:
        logs_3 = torch.zeros(3, requires_grad=True)

        def logits(window_T: Tensor) -> Tensor:
            raw_TV = model.raw_logits(model.hidden(window_T[None], BOS))[0].detach()
            above, below, temperature = logs_3.exp()
            softcap = model.spec.logit_softcap
            cap_TV = torch.where(raw_TV > 0, softcap * above, softcap * below)
            return temperature * cap_TV * torch.tanh(raw_TV / cap_TV)

        def step(loss: Tensor) -> None:
            (gradient_3,) = torch.autograd.grad(loss, [logs_3])
            logs_3.data -= 0.3 * gradient_3

        return slow_nats(ids, logits, step)

    check_twin(tmp_path, "softcap_temperature", SoftcapTemperatureConfig(rate=0.3, chunk=CHUNK), twin)
