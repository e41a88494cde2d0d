"""A language model of letters with an LSTM: trained, fitted to two bits a weight, read back, compared.

usage: python examples/lstm_language_model.py
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bytecap

TEXT = " ".join(
    f"{number} bottles of {drink} on the {place}."
    for number in range(1, 60)
    for drink in ("milk", "water", "juice")
    for place in ("wall", "table")
)
LETTERS = sorted(set(TEXT))


class LetterModel(nn.Module):
    """Embedding, LSTM, head; the gates of the LSTM are packed into two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 24)
        self.lstm = nn.LSTM(24, 64, batch_first=True)
        self.head = nn.Linear(64, len(LETTERS))

    def forward(self, letters_BT: Tensor) -> Tensor:
        """Logits of the next letter, (B, T, V)."""
        logits_BTV: Tensor = self.head(self.lstm(self.embedding(letters_BT))[0])
        return logits_BTV


def logits_and_labels(model: nn.Module, batch_BT: Tensor) -> tuple[Tensor, Tensor]:
    """What `bytecap.fit` needs to know about a model: logits (N, V) and labels (N,) of a batch."""
    return model(batch_BT[:, :-1]).flatten(0, 1), batch_BT[:, 1:].flatten()


def train() -> tuple[LetterModel, list[Tensor]]:
    """A model that has read the text a few times, and batches of it."""
    torch.manual_seed(0)
    letters = torch.tensor([LETTERS.index(letter) for letter in TEXT])
    starts = torch.randint(len(letters) - 49, (80, 16))
    batches = [torch.stack([letters[start : start + 49] for start in row]) for row in starts.tolist()]
    model = LetterModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for batch_BT in batches:
        optimizer.zero_grad()
        F.cross_entropy(*logits_and_labels(model, batch_BT)).backward()
        optimizer.step()
    return model, batches


def main() -> None:
    """Train, fit, load, compare."""
    model, batches = train()
    weights = sum(parameter.numel() for parameter in model.parameters())
    artifact = bytecap.fit(model, batches[:20], loss=logits_and_labels, cap_bytes=weights // 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "letters.bcap"
        artifact.save(path)
        fitted = LetterModel()
        fitted.load_state_dict(bytecap.load_state_dict(path))
    for name, one, size in (("original", model, 4 * weights), ("fitted", fitted, artifact.size_bytes)):
        with torch.no_grad():
            loss = F.cross_entropy(*logits_and_labels(one, torch.cat(batches[-8:])))
        print(f"{name:<9}{size:>8,} bytes  {float(loss):.4f} nats per letter")


if __name__ == "__main__":
    main()
