"""Every step is that of torch.optim.SGD on a model of the document's own."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, parameter_roles
from bytecap.scoring.adaptations.sgd import SGDConfig
from tests.contracts.adaptations import BOS
from tests.scoring.adaptations.twin import CHUNK, check_twin, slow_nats


@pytest.mark.parametrize(("parameters", "clip"), [("all", 1.0), ("all", 0.0), ("scalars", 2.0)])
def test_slow_twin(tmp_path: Path, parameters: Literal["all", "scalars"], clip: float) -> None:
    """All weights or control parameters, clipped or not."""

    def twin(model: GPT, ids: list[int]) -> float:
        roles = parameter_roles(model)
        chosen = [p for n, p in model.named_parameters() if parameters == "all" or roles[n] == Role.SCALAR]
        optimizer = torch.optim.SGD(chosen, lr=0.05)

        def step(loss: torch.Tensor) -> None:
            model.zero_grad()
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(chosen, clip)
            optimizer.step()

        return slow_nats(ids, lambda window_T: model.logits(model.hidden(window_T[None], BOS))[0], step)

    check_twin(tmp_path, "sgd", SGDConfig(rate=0.05, chunk=CHUNK, parameters=parameters, clip=clip), twin)
