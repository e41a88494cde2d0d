"""Every step is that of torch.optim.AdamW on adapters of the document's own, written out as modules."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bytecap.model.block import Block
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.lora import LoRA, LoRAConfig
from tests.contracts.adaptations import BOS
from tests.model.test_gpt import random_model
from tests.scoring.adaptations.twin import CHUNK, check_twin, slow_nats

CONFIG = LoRAConfig(rank=3, chunk=CHUNK, rate=0.01, betas=(0.5, 0.9), epsilon=1e-3, weight_decay=0.5)


class Adapted(nn.Module):
    """Something that maps its first argument, plus B A of that."""

    def __init__(self, inner: nn.Module, down_RI: Tensor, outputs: int) -> None:
        super().__init__()
        self.inner, self.down_RI = inner, nn.Parameter(down_RI)
        self.up_OR = nn.Parameter(torch.zeros(outputs, len(down_RI)))

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        result: Tensor = self.inner(x, *others) + x @ self.down_RI.T @ self.up_OR.T
        return result


def twin(model: GPT, ids: list[int]) -> float:
    spec, random = model.spec, torch.Generator().manual_seed(CONFIG.seed)
    adapters: list[Adapted] = []

    def adapted(inner: nn.Module, outputs: int) -> Adapted:
        start_RI = (2 * torch.rand(CONFIG.rank, spec.d_model, generator=random) - 1) / spec.d_model**0.5
        adapters.append(Adapted(inner, start_RI, outputs))
        return adapters[-1]

    narrow = spec.n_kv_heads * spec.d_head
    for block in model.blocks:
        assert isinstance(block, Block)
        attention: Any = block.attention
        attention.query = adapted(attention.query, spec.d_model)
        attention.key = adapted(attention.key, narrow)
        attention.value = adapted(attention.value, narrow)
        block.attention = adapted(attention, spec.d_model)  # type: ignore[assignment]
        block.mlp = adapted(block.mlp, spec.d_model)  # type: ignore[assignment]
    head = adapted(nn.Identity(), spec.vocab_size)
    learned = [parameter for adapter in adapters for parameter in (adapter.down_RI, adapter.up_OR)]
    optimizer = torch.optim.AdamW(
        learned, lr=CONFIG.rate, betas=CONFIG.betas, eps=CONFIG.epsilon, weight_decay=CONFIG.weight_decay
    )

    def logits(window_T: Tensor) -> Tensor:
        hidden_TD = model.hidden(window_T[None], BOS)[0]
        raw_TV = model.raw_logits(hidden_TD) + hidden_TD @ head.down_RI.T @ head.up_OR.T
        return spec.logit_softcap * torch.tanh(raw_TV / spec.logit_softcap)

    def step(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return slow_nats(ids, logits, step)


def test_slow_twin(tmp_path: Path) -> None:
    """All targets; three documents as one batched adapter."""
    check_twin(tmp_path, "lora", CONFIG, twin)


def test_an_adapter_for_each_visit() -> None:
    """A block that is visited twice has two of each; what is not a target has none."""
    model, lora = random_model(), LoRA(LoRAConfig(rank=2, targets=("value", "head")))
    lora.begin(model, 2, BOS)
    assert list(lora._places) == [(0, "value"), (1, "value"), (2, "value"), (0, "head")]
    assert lora._pairs[0].shape == (2, 2, 16) and lora._pairs[-1].shape == (2, 50, 2)
