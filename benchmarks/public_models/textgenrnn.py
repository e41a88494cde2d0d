"""textgenrnn's character model: two LSTM layers and attention, kept as (inputs, outputs)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, Weights, find, rows
from public_models.inputs import sentences


class Textgenrnn(nn.Module):
    """textgenrnn's character model, whose file has (inputs, outputs), over ids (B, T): logits of the next (B, 465)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(465, 100))
        for layer, width in (("rnn_1", 100), ("rnn_2", 128)):
            self.register_parameter(f"{layer}_kernel", nn.Parameter(torch.zeros(width, 512)))
            self.register_parameter(f"{layer}_recurrent_kernel", nn.Parameter(torch.zeros(128, 512)))
            self.register_parameter(f"{layer}_bias", nn.Parameter(torch.zeros(1024)))
        self.attention_W = nn.Parameter(torch.zeros(356, 1))
        self.output_kernel, self.output_bias = nn.Parameter(torch.zeros(356, 465)), nn.Parameter(torch.zeros(465))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding[ids]
        seen = [x]
        for layer in ("rnn_1", "rnn_2"):
            kernel, recurrent, bias = (
                getattr(self, f"{layer}_{part}") for part in ("kernel", "recurrent_kernel", "bias")
            )
            h = c = x.new_zeros(len(x), 128)
            steps = []
            for t in range(x.size(1)):
                i, f, g, o = (x[:, t] @ kernel + h @ recurrent + bias[:512] + bias[512:]).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                steps.append(h)
            x = torch.stack(steps, 1)
            seen.append(x)
        x = torch.cat(seen, 2)
        return ((x @ self.attention_W).softmax(1) * x).sum(1) @ self.output_kernel + self.output_bias


def _from_cudnn(name: str, value: Tensor) -> Tensor:
    """Kernels of Keras' CuDNNLSTM as its LSTM has them, which is how Keras reads them."""
    if name.endswith("recurrent_kernel"):
        return torch.cat([gate.T for gate in value.chunk(4, 1)], 1)
    if name.endswith("_kernel") and name.startswith("rnn"):
        return torch.cat([gate.reshape(gate.size(1), gate.size(0)).T for gate in value.chunk(4, 1)], 1)
    return value


def keras_weights(path: Path) -> Weights:
    """The data sets of an HDF5 file by their last names."""
    import h5py  # noqa: PLC0415  (one checkpoint alone needs it)

    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda _, o: found.update({o.name: o[()]}) if isinstance(o, h5py.Dataset) else None)
    names = {key: "_".join(dict.fromkeys(key.strip("/").removesuffix(":0").split("/"))) for key in found}
    renamed = {"embedding_embeddings": "embedding", "attention_attention_W": "attention_W"}
    arrays = {renamed.get(names[key], names[key]): torch.from_numpy(value) for key, value in found.items()}
    return {key: _from_cudnn(key, value) for key, value in arrays.items()}


def textgenrnn(folder: Path) -> Checkpoint:
    """Logits of the next character after 40."""
    model, path = Textgenrnn(), find(folder, "textgenrnn/textgenrnn_weights.hdf5")
    weights = {key: value for key, value in keras_weights(path).items() if key in model.state_dict()}
    model.load_state_dict(weights)
    ids = json.loads(path.with_name("textgenrnn_vocab.json").read_text("utf-8"))
    text, generator = sentences(), torch.Generator().manual_seed(0)
    starts = torch.randint(len(text) - 40, (2048,), generator=generator).tolist()
    batches = list(torch.tensor([[ids.get(c, 0) for c in text[s : s + 40]] for s in starts]).split(64))
    return Checkpoint("textgenrnn", "textgenrnn 2.0.0", weights, model, batches, rows)
