"""Every step is that of torch.optim.Adam without a first moment, on a model of the document's own."""

from pathlib import Path

import torch

from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.rmsprop import RMSPropConfig
from tests.contracts.adaptations import BOS
from tests.scoring.adaptations.twin import CHUNK, check_twin, slow_nats


def test_slow_twin(tmp_path: Path) -> None:
    """All weights."""

    def twin(model: GPT, ids: list[int]) -> float:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.0, 0.9), eps=1e-6)

        def step(loss: torch.Tensor) -> None:
            model.zero_grad()
            loss.backward()
            optimizer.step()

        return slow_nats(ids, lambda window_T: model.logits(model.hidden(window_T[None], BOS))[0], step)

    check_twin(tmp_path, "rmsprop", RMSPropConfig(rate=0.01, chunk=CHUNK, beta=0.9, epsilon=1e-6), twin)
