"""g2p-en's translation of letters to phonemes: two GRU, with embeddings, of plain parameters."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, fill, find, rows
from public_models.inputs import sentences

PHONEMES = 8


class G2p(nn.Module):
    """g2p-en's encoder and decoder over letters and phonemes (B, T + 8): logits of the next phoneme (B, 8, 74)."""

    def __init__(self) -> None:
        super().__init__()
        for side, count in (("enc", 29), ("dec", 74)):
            self.register_parameter(f"{side}_emb", nn.Parameter(torch.zeros(count, 256)))
            for part in ("ih", "hh"):
                self.register_parameter(f"{side}_w_{part}", nn.Parameter(torch.zeros(768, 256)))
                self.register_parameter(f"{side}_b_{part}", nn.Parameter(torch.zeros(768)))
        self.fc_w, self.fc_b = nn.Parameter(torch.zeros(74, 256)), nn.Parameter(torch.zeros(74))

    def cell(self, x: Tensor, h: Tensor, side: str) -> Tensor:
        w_ih, w_hh, b_ih, b_hh = (getattr(self, f"{side}_{part}") for part in ("w_ih", "w_hh", "b_ih", "b_hh"))
        ri, zi, ni = F.linear(x, w_ih, b_ih).chunk(3, 1)
        rh, zh, nh = F.linear(h, w_hh, b_hh).chunk(3, 1)
        z = (zi + zh).sigmoid()
        return (1 - z) * (ni + (ri + rh).sigmoid() * nh).tanh() + z * h

    def forward(self, ids: Tensor) -> Tensor:
        h, given = torch.zeros(len(ids), 256), []
        for t in range(ids.size(1)):
            side = "enc" if t < ids.size(1) - PHONEMES else "dec"
            h = self.cell(getattr(self, f"{side}_emb")[ids[:, t]], h, side)
            if side == "dec":
                given.append(F.linear(h, self.fc_w, self.fc_b))
        return torch.stack(given, 1)

    def spoken(self, letters: Tensor) -> Tensor:
        """(B, T + 8): letters with the phonemes that the model itself reads behind them."""
        ids = F.pad(letters, (0, PHONEMES))
        ids[:, -PHONEMES] = 2
        for place in range(1, PHONEMES):
            ids[:, place - PHONEMES] = self(ids)[:, place - 1].argmax(1)
        return ids


def letters(model: G2p) -> list[Tensor]:
    words = sorted({word for word in re.findall("[a-z]+", sentences().lower()) if 5 <= len(word) <= 7})
    words = list(np.random.default_rng(0).permutation(words))[:768]
    ids = [[3 + ord(c) - ord("a") for c in word] + [2] for word in words]
    parts = [part for size in (6, 7, 8) for part in torch.tensor([w for w in ids if len(w) == size]).split(64)]
    with torch.no_grad():
        return [model.spoken(part) for part in parts]


def g2p_en(folder: Path) -> Checkpoint:
    """Logits of the next phoneme for words of Python's documentation."""
    model, path = G2p(), find(folder, "g2p_en/checkpoint20.npz")
    weights = fill(model, path)
    batches = letters(model)
    return Checkpoint("g2p-en", "g2p-en 2.1.0", weights, model, batches[::2] + batches[1::2], rows)
