"""Low-rank adapters for each document, trained on its chunks after they are scored.

Each visit of a block has adapters of its own on queries, keys and values, one from the input of attention to its output
and one from the input of the MLP to its output; the output map has one. An adapter adds B A x; A starts uniform within
±1/√I, B at zero. After each chunk but a document's last, one step of AdamW follows on the chunk's mean loss. All
documents that run side by side are one batched adapter.

Letters: L rows, T positions, I inputs, O outputs, R rank, V vocabulary.
Source:  openai/parameter-golf #1530 and #1586 (rank 96, chunks of 48, AdamW 1e-4, betas 0 and 0.999, decay 0.5).
Differs: a document takes the next free row, in canonical order; there, 64 of similar length begin and end together.
         An A starts from the same numbers in every document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds, check_bounds
from bytecap.model.block import Block
from bytecap.model.gpt import GPT
from bytecap.model.spec import MAX_CONTEXT, MAX_WIDTH
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.gradients import row_gradients
from bytecap.scoring.ledger import Scored

Target: TypeAlias = Literal["query", "key", "value", "attention", "mlp", "head"]
_Place: TypeAlias = tuple[int, Target]
_HEAD: _Place = (0, "head")


@dataclass(frozen=True, kw_only=True)
class LoRAConfig(AdaptationConfig):
    """Where the adapters are, and how they are trained."""

    rank: int = field(default=96, metadata=bounds(1, MAX_WIDTH))
    """Rank R of each adapter."""
    targets: tuple[Target, ...] = ("query", "key", "value", "attention", "mlp", "head")
    """The modules that have an adapter: maps of attention, attention and MLP as wholes, the output map."""
    chunk: int = field(default=48, metadata=bounds(1, MAX_CONTEXT))
    """Positions of a document between two steps."""
    rate: float = field(default=1e-4, metadata=bounds(0.0, 100.0))
    """Learning rate."""
    betas: tuple[float, float] = field(default=(0.0, 0.999), metadata=bounds(0.0, 0.999999))
    """Decay of the first and the second moment in a step."""
    epsilon: float = field(default=1e-10, metadata=bounds(0.0, 1.0))
    """Added to the root of the second moment."""
    weight_decay: float = field(default=0.5, metadata=bounds(0.0, 100.0))
    """Decoupled weight decay: a step takes away this share times the rate."""
    seed: int = field(default=0, metadata=bounds(0, 1 << 31))
    """Seed of the initial values of each A."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of bounds."""
        check_bounds(self)


class LoRA(Adaptation):
    """One adapter for each place and row."""

    config_class = LoRAConfig
    needs_gradient = True

    def __init__(self, config: LoRAConfig) -> None:
        super().__init__(config)
        self.config, self._place = config, 0
        self._joined: GPT | None = None
        self._places: dict[_Place, int] = {}
        self._starts: list[Tensor] = []

    @property
    def chunk(self) -> int:
        """The chunk of the settings."""
        return self.config.chunk

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """Start with a fresh adapter in every row."""
        if self._joined is not model:
            self._join(model)
        self._pairs = [start.expand(rows, *start.shape).clone().requires_grad_() for start in self._starts]
        self._moments = [[torch.zeros_like(pair) for pair in self._pairs] for _ in range(2)]
        self._steps_L = torch.zeros(rows, device=self._pairs[0].device)

    def reset(self, row: int) -> None:
        """Put a fresh adapter into the row; tensors that a graph may hold are replaced and not changed."""
        pairs = [pair.detach().clone() for pair in self._pairs]
        for pair, start in zip(pairs, self._starts, strict=True):
            pair[row] = start
        self._pairs = [pair.requires_grad_() for pair in pairs]
        for moment in (*self._moments[0], *self._moments[1], self._steps_L):
            moment[row] = 0

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the adapters of these rows and their moments."""
        index = list(rows)
        self._pairs = [pair.detach()[index].requires_grad_() for pair in self._pairs]
        self._moments = [[moment[index] for moment in moments] for moments in self._moments]
        self._steps_L = self._steps_L[index]

    def raw_logits(self, logits_BTV: Tensor, hidden_BTD: Tensor) -> Tensor:
        """Add the output map's adapter to the logits."""
        return self._added(_HEAD, hidden_BTD, logits_BTV)

    def learn(self, scored: Scored) -> None:
        """Take one step of AdamW in each row."""
        gradients, config = row_gradients(scored, self._pairs), self.config
        (first_beta, second_beta), (firsts, seconds) = config.betas, self._moments
        self._steps_L += 1
        torch._foreach_lerp_(firsts, gradients, 1 - first_beta)
        torch._foreach_mul_(seconds, second_beta)
        torch._foreach_addcmul_(seconds, gradients, gradients, 1 - second_beta)
        first_L11 = (config.rate / (1 - first_beta**self._steps_L))[:, None, None]
        second_L11 = (1 - second_beta**self._steps_L).sqrt()[:, None, None]
        decayed = torch._foreach_mul([pair.detach() for pair in self._pairs], 1 - config.rate * config.weight_decay)
        for pair, first, second in zip(decayed, firsts, seconds, strict=True):
            pair -= first_L11 * first / (second.sqrt() / second_L11 + config.epsilon)
        self._pairs = [pair.requires_grad_() for pair in decayed]

    def _join(self, model: GPT) -> None:
        """Register a hook at each place and draw the values that its adapters start from."""
        spec, targets = model.spec, self.config.targets
        visits = range(len(model.techniques.order(list(range(spec.n_layers)))))
        places: list[_Place] = [(visit, target) for visit in visits for target in targets if target != "head"]
        if "head" in targets:
            places.append(_HEAD)
        wide = {"key": spec.n_kv_heads * spec.d_head, "value": spec.n_kv_heads * spec.d_head, "head": spec.vocab_size}
        random = torch.Generator().manual_seed(self.config.seed)
        device = next(model.parameters()).device
        self._places.clear()
        self._starts.clear()
        for place in places:
            self._places[place] = len(self._starts)
            start_RI = (2 * torch.rand(self.config.rank, spec.d_model, generator=random) - 1) / spec.d_model**0.5
            zeros_OR = torch.zeros(wide.get(place[1], spec.d_model), self.config.rank)
            self._starts += [start_RI.to(device), zeros_OR.to(device)]
        for block in model.blocks:
            assert isinstance(block, Block)
            block.register_forward_pre_hook(self._note_place)
            for target, module in _modules(block).items():
                if target in targets:
                    module.register_forward_hook(self._hook(target))
        self._joined = model

    def _note_place(self, module: nn.Module, arguments: Any) -> None:
        self._place = arguments[1].place

    def _hook(self, target: Target) -> Any:
        def add(module: nn.Module, arguments: Any, output_BTO: Tensor) -> Tensor:
            return self._added((self._place, target), arguments[0], output_BTO)

        return add

    def _added(self, place: _Place, input_BTI: Tensor, output_BTO: Tensor) -> Tensor:
        if place not in self._places:
            return output_BTO
        down_LRI, up_LOR = self._pairs[self._places[place] :][:2]
        dtype = input_BTI.dtype
        added_BTO: Tensor = input_BTI @ down_LRI.mT.to(dtype) @ up_LOR.mT.to(dtype)
        return output_BTO + added_BTO


def _modules(block: Block) -> dict[Target, nn.Module]:
    attention = block.attention
    return {
        "query": attention.query, "key": attention.key, "value": attention.value, "attention": attention,
        "mlp": block.mlp,
    }  # fmt: skip
