"""How like two hidden states of a model are by what it would say at each: the metric of its output map.

In:   a model.
Out:  a mean and a matrix that states are taken to before their cosine is formed.

The matrix is a root of the Fisher information of the state, Wᵀ (diag q − q qᵀ) W, W being the output map and q the
mean of what the model says behind two tokens, BOS and any other; the mean is that of its states there. So directions
that change no probability count for nothing.

Letters: N tokens asked about, D width, V vocabulary.
Source:  Fisher information of a softmax (Amari 1998); centered states: arXiv 1702.01417.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bytecap.model.gpt import GPT

MAX_TOKENS = 4096
"""Most tokens behind BOS that the model is asked about, evenly spread over the vocabulary."""
_TOGETHER = 256
"""Tokens that are asked about at once."""
DAMPING = 1e-6
"""Added to the diagonal, as a share of its mean, so that the root exists."""


class StateMetric(NamedTuple):
    """What states are compared by, on CPU."""

    mean_D: Tensor
    root_DD: Tensor

    def unit_states(self, hidden_BTD: Tensor) -> Tensor:
        """The states as unit vectors of the metric, float32 on CPU, shape as given."""
        centered_BTD = hidden_BTD.detach().float().cpu() - self.mean_D
        return torch.nn.functional.normalize(centered_BTD @ self.root_DD, dim=-1)


@torch.no_grad()
def state_metric(model: GPT, bos: int) -> StateMetric:
    """The metric of a model as it is."""
    size, width = model.spec.vocab_size, model.spec.d_model
    token_N = torch.arange(0, size, -(-size // MAX_TOKENS))
    mean_V, mean_D = torch.zeros(size, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for part_N in torch.split(token_N, _TOGETHER):
        hidden_ND = _states(model, bos, part_N)
        mean_V += _probabilities(model, hidden_ND).double().sum(dim=0).cpu() / len(token_N)
        mean_D += hidden_ND.double().sum(dim=0).cpu() / len(token_N)
    points_ND = torch.cat([torch.eye(width), torch.zeros(1, width)]).to(hidden_ND.device)
    logits_NV = model.raw_logits(points_ND[:, None])[:, 0].double().cpu()
    map_DV = logits_NV[:-1] - logits_NV[-1]
    centered_DV = map_DV - (map_DV @ mean_V)[:, None]
    fisher_DD = (centered_DV * mean_V) @ centered_DV.T
    fisher_DD.diagonal().add_(DAMPING * fisher_DD.diagonal().mean() + 1e-30)
    return StateMetric(mean_D.float(), torch.linalg.cholesky(fisher_DD).float())


def _states(model: GPT, bos: int, token_N: Tensor) -> Tensor:
    """The hidden states behind BOS and each of these tokens, (N, D), float32."""
    pair_N2 = torch.stack([torch.full_like(token_N, bos), token_N], dim=1)
    return model.hidden(pair_N2.to(next(model.parameters()).device), bos)[:, 1].float()


def _probabilities(model: GPT, hidden_ND: Tensor) -> Tensor:
    """What the model says in these states, (N, V)."""
    logits_NV = model.raw_logits(hidden_ND[:, None])[:, 0]
    if (cap := model.softcap(logits_NV)) is not None:
        logits_NV = torch.tanh(logits_NV / cap) * cap
    return logits_NV.softmax(dim=-1)
