"""How weights start where a model asks for another start than its layers give themselves (`model.init`).

In:   a fresh model; draws come from torch's own generator.
Out:  the same model, changed in place.

    orthogonal  each linear map that does not start at zero is a random matrix with orthonormal rows or columns,
                whichever are fewer; one that adds to the residual stream is divided by √(2 L)
    overtone    the singular values of the embedding become σ₁ k^(-1/2), k = 1, 2, ..; its singular vectors stay

Letters: L blocks, V vocabulary, D width, N the smaller of V and D.
Source:  openai/parameter-golf #219 (orthogonal), #60 and #309 (overtone).
Differs: #219 leaves maps with a side below 64 as they are; at its size there are none. Attention's and the MLP's output
         maps start at zero there and here, so the division reaches the projection of hashed bigrams alone.
"""

from __future__ import annotations

import torch
from torch import nn

from bytecap.model.gpt import GPT
from bytecap.model.layers import Linear


@torch.no_grad()
def initialize(model: GPT) -> GPT:
    """Give a fresh model the start that its spec asks for, and hand it back.

    >>> import torch
    >>> from bytecap.model.spec import ModelSpec
    >>> spec = ModelSpec(vocab_size=50, n_layers=2, d_model=16, n_heads=2, n_kv_heads=1, d_ff=32, init="orthogonal")
    >>> weight = initialize(GPT(spec)).blocks[0].attention.query.weight
    >>> torch.allclose(weight @ weight.T, torch.eye(16), atol=1e-5)
    True
    """
    if model.spec.init == "orthogonal":
        for module in model.modules():
            if isinstance(module, Linear) and bool(module.weight.any()):
                gain = (2 * model.spec.n_layers) ** -0.5 if module.to_stream else 1.0
                nn.init.orthogonal_(module.weight, gain)
    elif model.spec.init == "overtone":
        left_VN, spectrum_N, right_ND = torch.linalg.svd(model.embedding, full_matrices=False)
        number_N = torch.arange(1, len(spectrum_N) + 1)
        model.embedding.copy_((left_VN * (spectrum_N[0] * number_N**-0.5)) @ right_ND)
    return model
