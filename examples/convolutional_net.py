"""A convolutional net for small pictures: trained, fitted under a byte cap from Python, read back, compared.

usage: python examples/convolutional_net.py
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bytecap

Batch = tuple[Tensor, Tensor]


def make_net() -> nn.Sequential:
    """Two convolutions with batch norms, and a linear map."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, groups=2), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 3 * 3, 4),
    )  # fmt: skip


def make_pictures(count: int) -> Batch:
    """Noise with a bar in it: horizontal, vertical, or along one of the diagonals; (N, 1, 12, 12) and four labels."""
    labels_N = torch.randint(4, (count,))
    pictures_NHW = 0.7 * torch.randn(count, 12, 12)
    for number, label in enumerate(labels_N.tolist()):
        place = torch.arange(12)
        offset = int(torch.randint(3, 9, ()))
        rows, columns = [
            (torch.full((12,), offset), place),
            (place, torch.full((12,), offset)),
            (place, (place + offset) % 12),
            (place, (offset - place) % 12),
        ][label]
        pictures_NHW[number, rows, columns] += 1.5
    return pictures_NHW[:, None], labels_N


def logits_and_labels(model: nn.Module, batch: Batch) -> Batch:
    """What `bytecap.fit` needs to know about a model: logits (N, 4) and labels (N,) of a batch."""
    return model(batch[0]), batch[1]


def train(batches: list[Batch]) -> nn.Sequential:
    """A net that tells the bars apart."""
    net = make_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for batch in batches:
        optimizer.zero_grad()
        F.cross_entropy(*logits_and_labels(net, batch)).backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, pictures: Batch) -> float:
    """Share of right answers."""
    logits_N4, labels_N = logits_and_labels(net, pictures)
    return float((logits_N4.argmax(1) == labels_N).float().mean())


def main() -> None:
    """Train, fit, load, compare."""
    torch.manual_seed(0)
    batches, held_out = [make_pictures(64) for _ in range(60)], make_pictures(1000)
    net = train(batches)
    artifact = bytecap.fit(net, batches[:16], loss=logits_and_labels, cap_bytes=2500)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.bcap"
        artifact.save(path)
        fitted = make_net().eval()
        fitted.load_state_dict(bytecap.load_state_dict(path))  # the running means of the batch norms are in it too
    plain = sum(4 * tensor.numel() for tensor in net.state_dict().values())
    for name, one, size in (("original", net, plain), ("fitted", fitted, artifact.size_bytes)):
        print(f"{name:<9}{size:>8,} bytes  {accuracy(one, held_out):.1%} of held-out pictures told apart")


if __name__ == "__main__":
    main()
