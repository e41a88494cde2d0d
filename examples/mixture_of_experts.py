"""A mixture of experts in one tensor of three axes: trained, fitted, read back, compared expert by expert.

usage: python examples/mixture_of_experts.py

An expert that the calibration data hardly reach keeps its weights: it takes the curvature of the others, made smaller
by how rarely it is asked.
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bytecap

EXPERTS, WIDTH, INNER, TOKENS = 4, 24, 48, 48


class Mixture(nn.Module):
    """An embedding, a router that sends each token to one of the experts, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.up = nn.Parameter(0.2 * torch.randn(EXPERTS, WIDTH, INNER))
        self.down = nn.Parameter(0.2 * torch.randn(EXPERTS, INNER, WIDTH))
        self.head = nn.Linear(WIDTH, TOKENS)

    def forward(self, tokens_N: Tensor) -> Tensor:
        """Logits of the next token, (N, V)."""
        stream_ND = self.embedding(tokens_N)
        chosen_N = self.route(tokens_N)
        share_N1 = self.router(stream_ND).softmax(-1).gather(1, chosen_N[:, None])
        added_ND = torch.zeros_like(stream_ND)
        for expert in range(EXPERTS):
            mine = (chosen_N == expert).nonzero().flatten()
            inner_MF = F.gelu(stream_ND[mine] @ self.up[expert])
            added_ND = added_ND.index_add(0, mine, inner_MF @ self.down[expert])
        logits_NV: Tensor = self.head(stream_ND + share_N1 * added_ND)
        return logits_NV

    def route(self, tokens_N: Tensor) -> Tensor:
        """The expert of each token, (N,)."""
        return self.router(self.embedding(tokens_N)).argmax(-1)


def logits_and_labels(model: nn.Module, tokens_N: Tensor) -> tuple[Tensor, Tensor]:
    """What `bytecap.fit` needs of a model; each token is followed by seven times itself and three, modulo 48."""
    return model(tokens_N), (7 * tokens_N + 3) % TOKENS


def main() -> None:
    """Train, fit, load, compare."""
    torch.manual_seed(0)
    model = Mixture()
    batches = [torch.randint(TOKENS, (256,)) for _ in range(120)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for batch_N in batches:
        optimizer.zero_grad()
        F.cross_entropy(*logits_and_labels(model, batch_N)).backward()
        optimizer.step()
    artifact = bytecap.fit(model, batches[:20], loss=logits_and_labels, cap_bytes="5kB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixture.bcap"
        artifact.save(path)
        fitted = Mixture()
        fitted.load_state_dict(bytecap.load_state_dict(path))
    everything_N = torch.arange(TOKENS)
    plain = sum(4 * parameter.numel() for parameter in model.parameters())
    for name, one, size in (("original", model, plain), ("fitted", fitted, artifact.size_bytes)):
        with torch.no_grad():
            logits_NV, labels_N = logits_and_labels(one, everything_N)
        asked = torch.bincount(one.route(everything_N), minlength=EXPERTS).tolist()
        right = int((logits_NV.argmax(-1) == labels_N).sum())
        print(f"{name:<9}{size:>8,} bytes  {right} of {TOKENS} right, tokens of each expert: {asked}")


if __name__ == "__main__":
    main()
