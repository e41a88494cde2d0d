"""attacut's boundaries of Thai words: two embeddings and dilated convolutions."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, fill, find
from public_models.inputs import thai


class NormedConvolution(nn.Module):
    """A convolution of attacut with its norm."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(48, 64, width, padding=(width - 1) // 2 * dilation, dilation=dilation)
        self.bn = nn.BatchNorm1d(64)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(F.relu(self.conv(x)))


class Attacut(nn.Module):
    """attacut's word boundaries from characters and syllables (B, 2, T): logits (B, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.ch_embeddings, self.sy_embeddings = nn.Embedding(139, 32), nn.Embedding(6227, 16)
        self.conv1, self.conv2 = NormedConvolution(3, 1), NormedConvolution(5, 3)
        self.conv3 = NormedConvolution(9, 2)
        self.linear1, self.linear2 = nn.Linear(64, 32), nn.Linear(32, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = torch.cat((self.ch_embeddings(ids[:, 0]), self.sy_embeddings(ids[:, 1])), 2).permute(0, 2, 1)
        x = torch.stack([layer(x).permute(0, 2, 1) for layer in (self.conv1, self.conv2, self.conv3)], 3).amax(3)
        return self.linear2(F.relu(self.linear1(x))).squeeze(-1)


def syllables(text: str, known: dict[str, int]) -> list[str]:
    """The longest known piece at each place, which is nearly what a syllable tokenizer gives."""
    longest, found = max(map(len, known)), []
    while text:
        size = next((n for n in range(min(longest, len(text)), 1, -1) if text[:n] in known), 1)
        found.append(text[:size])
        text = text[size:]
    return found


def attacut(folder: Path) -> Checkpoint:
    """Logits of a boundary behind each character of Thai names."""
    model, path = Attacut(), find(folder, "attacut/artifacts/attacut-sc/model.pth")
    known = json.loads(path.with_name("syllables.json").read_text("utf-8"))
    characters = json.loads(path.with_name("characters.json").read_text("utf-8"))
    pieces = syllables(thai(folder), known)
    ids = [(characters.get(c, 1), known.get(piece, 1)) for piece in pieces for c in piece]
    windows = torch.tensor(ids[: len(ids) // 1_024 * 1_024]).reshape(-1, 64, 2).transpose(1, 2)
    batches = list(windows.split(8))
    return Checkpoint("attacut", "attacut 1.0.6", fill(model, path), model, batches, lambda y: y.reshape(-1, 1))
