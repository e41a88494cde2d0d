"""The last net of facenet-pytorch's face detector: small convolutions and two large linear maps."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, fill, find, rows
from public_models.inputs import photographs


class Onet(nn.Module):
    """The last net of facenet-pytorch's MTCNN over pictures (B, 3, 48, 48): logits, boxes, landmarks (B, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3), nn.Conv2d(64, 64, 3)
        self.conv4, self.dense5 = nn.Conv2d(64, 128, 2), nn.Linear(1152, 256)
        for i, size in enumerate((32, 64, 64, 128, 256), 1):
            self.add_module(f"prelu{i}", nn.PReLU(size))
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 5):
            x = self.get_submodule(f"prelu{i}")(self.get_submodule(f"conv{i}")(x))
            if i < 4:
                x = F.max_pool2d(x, 3 if i < 3 else 2, 2, ceil_mode=True)
        x = self.get_submodule("prelu5")(self.dense5(x.permute(0, 3, 2, 1).reshape(len(x), -1)))
        return torch.cat((self.dense6_1(x), self.dense6_2(x), self.dense6_3(x)), 1)


def facenet(folder: Path) -> Checkpoint:
    """Logits, boxes and landmarks for pieces of photographs."""
    model, path = Onet(), find(folder, "facenet_pytorch/data/onet.pt")
    batches = list((photographs(folder, 512, 48) * 2 - 1).split(32))
    return Checkpoint("onet", "facenet-pytorch 2.6.0", fill(model, path), model, batches, rows)
