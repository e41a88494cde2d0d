"""Small modules of nobody's library, with batches and losses, for whatever fits any torch module."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Small(nn.Module):
    """Nothing of ours: embedding, layer norm, a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(40, 24)
        self.norm = nn.LayerNorm(24)
        self.up, self.down = nn.Linear(24, 64), nn.Linear(64, 24)
        self.head = nn.Linear(24, 40, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        x = self.tokens(tokens)
        return self.head(x + self.down(F.gelu(self.up(self.norm(x)))))


def trained() -> tuple[Small, list[Tensor]]:
    """A model that has learned to count modulo 40 in steps of 7."""
    torch.manual_seed(0)
    model = Small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batches = [(torch.randint(40, (8, 1)) + 7 * torch.arange(17)) % 40 for _ in range(60)]
    for batch in batches:
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, batches


def logits_and_labels(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    return model(batch[:, :-1]), batch[:, 1:]


def logits_and_labels_flat(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    return model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()


def data_losses(model: nn.Module, batch: Tensor) -> Tensor:
    return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten(), reduction="none")


class Tiny(nn.Module):
    """Token to logits; sparse gradients of the embedding where asked for, and a parameter without axes."""

    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(24, 16, sparse=sparse), nn.Linear(16, 24)
        self.temperature = nn.Parameter(torch.tensor(0.7))

    def forward(self, token: Tensor) -> Tensor:
        return self.out(self.embed(token)) * self.temperature


def tiny_batches() -> list[Tensor]:
    return list(torch.randint(0, 24, (8, 4, 17), generator=torch.Generator().manual_seed(0)))


def next_token(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    return model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].reshape(-1)
