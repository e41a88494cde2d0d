"""Fit any torch module under a byte cap, read the file back, and see what the fit cost.

usage: python examples/fit_a_module.py
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bytecap


class Counter(nn.Module):
    """A model of nobody in particular: embedding, one hidden layer, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 32)
        self.up, self.down = nn.Linear(32, 128), nn.Linear(128, 32)
        self.head = nn.Linear(32, 64)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits, (B, T, V)."""
        stream_BTD = self.embedding(tokens_BT)
        logits_BTV: Tensor = self.head(stream_BTD + self.down(F.gelu(self.up(stream_BTD))))
        return logits_BTV


def logits_and_labels(model: nn.Module, batch_BT: Tensor) -> tuple[Tensor, Tensor]:
    """What `bytecap.fit` needs to know about a model: logits (N, V) and labels (N,) of a batch."""
    return model(batch_BT[:, :-1]).flatten(0, 1), batch_BT[:, 1:].flatten()


def train() -> tuple[Counter, list[Tensor]]:
    """A model that counts in steps of 5, modulo 64, and text of that kind."""
    torch.manual_seed(0)
    model = Counter()
    batches = [(torch.randint(64, (8, 1)) + 5 * torch.arange(17)) % 64 for _ in range(100)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for batch in batches:
        optimizer.zero_grad()
        F.cross_entropy(*logits_and_labels(model, batch)).backward()
        optimizer.step()
    return model, batches


def main() -> None:
    """Train, fit, load, compare."""
    model, batches = train()
    artifact = bytecap.fit(model, batches, loss=logits_and_labels, cap_bytes="10kB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counter.bcap"
        artifact.save(path)
        fitted = Counter()
        fitted.load_state_dict(bytecap.load_state_dict(path), strict=False)
        size = path.stat().st_size
    plain = sum(4 * parameter.numel() for parameter in model.parameters())
    for name, one in (("original", model), ("fitted", fitted)):
        with torch.no_grad():
            loss = F.cross_entropy(*logits_and_labels(one, batches[-1]))
        print(f"{name:<9}{plain if one is model else size:>8,} bytes  {float(loss):.4f} nats per token")


if __name__ == "__main__":
    main()
