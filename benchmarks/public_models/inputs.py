"""Inputs nobody made for this: recorded speech, photographs, documentation, Thai names, files of every kind.

In:   the folder of unpacked packages: Debian's asterisk-core-sounds-en-wav as `asterisk`, the Thai catalogues of
      iso-codes as `iso_codes`, scikit-learn's photographs; Python's own library.
Out:  tensors, the first half of which comes from other files or places than the second.
"""

from __future__ import annotations

import gettext
import pydoc_data.topics
import re
import sysconfig
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def speech(folder: Path, count: int, samples: int) -> Tensor:
    """(count, samples): pieces of recorded announcements at 16 kHz, loud ones, halves from different announcements."""
    paths = sorted(folder.glob("asterisk/*.wav"))
    if not paths:
        raise FileNotFoundError(f"no asterisk/*.wav in {folder}")
    draw = np.random.default_rng(0)
    halves = []
    for half in (paths[::2], paths[1::2]):
        sound = np.concatenate([_recording(path) for path in half])
        starts = draw.integers(len(sound) - samples, size=8 * count)
        loud = [s for s in starts if sound[s : s + samples].std() > 0.01][: count // 2]
        halves += [sound[s : s + samples] for s in loud]
    return torch.tensor(np.stack(halves), dtype=torch.float32)


def _recording(path: Path) -> np.ndarray:
    """A file of 8 kHz at 16 kHz: the same spectrum, twice as long."""
    with wave.open(str(path)) as file:
        assert file.getframerate() == 8_000
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32_768
    return np.fft.irfft(np.fft.rfft(sound), 2 * len(sound)) * 2


def pictures(folder: Path) -> list[np.ndarray]:
    """scikit-learn's two photographs, (H, W, 3) of bytes."""
    from PIL import Image  # noqa: PLC0415  (some checkpoints alone need it)

    paths = sorted(folder.glob("*/sklearn/datasets/images/*.jpg"))
    if not paths:
        raise FileNotFoundError(f"no photographs of scikit-learn in {folder}")
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def photographs(folder: Path, count: int, size: int) -> Tensor:
    """(count, 3, size, size) from 0 to 1: pieces of many scales, halves from different halves of the photographs."""
    draw, made = np.random.default_rng(0), []
    whole = [torch.tensor(picture).permute(2, 0, 1).float() / 255 for picture in pictures(folder)]
    for index in range(count):
        picture = whole[index % len(whole)]
        half = picture.size(2) // 2
        picture = picture[:, :, :half] if index < count // 2 else picture[:, :, half:]
        side = int(draw.integers(size, min(picture.shape[1:])))
        top, left = (int(draw.integers(extent - side)) for extent in picture.shape[1:])
        piece = picture[None, :, top : top + side, left : left + side]
        made.append(torch.nn.functional.interpolate(piece, size=size, mode="area")[0])
    return torch.stack(made)


def drawn_text(folder: Path, count: int, height: int, width: int, lines: int) -> Tensor:
    """(count, 3, height, width) from 0 to 1: lines of documentation, written over pieces of photographs."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    draw, text, made = np.random.default_rng(0), sentences(), []
    behind = torch.nn.functional.interpolate(photographs(folder, count, 128), (height, width), mode="bilinear")
    for index in range(count):
        plain = Image.fromarray((behind[index].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
        picture = Image.blend(plain, Image.new("RGB", plain.size, "white"), float(draw.uniform(0.2, 0.9)))
        tall = height / lines
        for line in range(lines):
            begin = int(draw.integers(len(text) - 60))
            font = ImageFont.load_default(tall * float(draw.uniform(0.5, 0.8)))
            colour = tuple(int(c) for c in draw.integers(0, 110, 3))
            place = (float(draw.uniform(0, 8)), tall * (line + 0.1))
            ImageDraw.Draw(picture).text(place, text[begin : begin + 60], fill=colour, font=font)
        made.append(torch.tensor(np.asarray(picture)).permute(2, 0, 1).float() / 255)
    return torch.stack(made)


def sentences() -> str:
    """Text that every Python has."""
    return re.sub(r"\s+", " ", " ".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics)))


def thai(folder: Path) -> str:
    """Names of places, languages and scripts in Thai, in no order."""
    found: set[str] = set()
    for path in sorted(folder.glob("iso_codes/*.mo")):
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # it has no public one
        found |= {value for value in catalogue.values() if "\u0e01" <= value[:1] <= "\u0e5b"}
    if not found:
        raise FileNotFoundError(f"no iso_codes/*.mo in {folder}")
    return " ".join(np.random.default_rng(0).permutation(sorted(found)))


def files(folder: Path, size: int) -> Tensor:
    """(N, size): the first and last bytes of files of every kind, at most 24 of a kind, 256 where a file is short."""
    library, half = Path(sysconfig.get_path("stdlib")), size // 2
    paths = [
        p for place in (library, folder) for p in sorted(place.rglob("*")) if p.is_file() and p.stat().st_size > 16
    ]
    seen: Counter[str] = Counter()
    made = []
    for path in np.random.default_rng(0).permutation(np.array(paths, object)):
        seen[path.suffix] += 1
        if seen[path.suffix] <= 24:
            data = path.read_bytes()
            first, last = data[:half].strip(), data[-half:].strip()
            ids = [*first, *[256] * (half - len(first)), *[256] * (half - len(last)), *last]
            made.append(torch.tensor(ids, dtype=torch.int32))
    return torch.stack(made[: len(made) // 2 * 2])
