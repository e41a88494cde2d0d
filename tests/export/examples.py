"""Files to export: a Llama-shaped model, and one that no other program has, with random weights and a tokenizer."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bytecap.artifact.attached import Attached
from bytecap.artifact.load import Artifact, loads
from bytecap.artifact.pack import ArtifactConfig, Provenance, pack
from bytecap.core.progress import Silent
from bytecap.export.source import ExportSource
from bytecap.export.targets import TARGETS
from bytecap.formats.base import StoredTensor
from bytecap.formats.floats import FloatTensor
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.per_group import PerGroupQuantized
from bytecap.formats.tensor import QuantizedModel
from bytecap.huggingface.folder import open_folder, read_small
from bytecap.huggingface.model import load_folder
from bytecap.model.gpt import GPT
from bytecap.model.roles import parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import TECHNIQUES, with_defaults
from bytecap.text.tokenizer_training import train_tokenizer
from tests.conftest import make_document
from tests.huggingface.models import make_folder

LLAMA = ModelSpec(
    vocab_size=300, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_ff=64,
    block="llama", activation="swiglu", logit_softcap=0.0, techniques={},
)  # fmt: skip
OTHER = ModelSpec(
    vocab_size=320,
    n_layers=4,
    d_model=16,
    n_heads=2,
    n_kv_heads=1,
    d_ff=24,
    techniques=with_defaults(*TECHNIQUES.names()),
)
"""A model with every technique there is."""


@functools.cache
def written(target: str) -> tuple[ExportSource, Path, list[str]]:
    """A file of a Llama-shaped model written for a target once: some take seconds."""
    made, source = TARGETS.find(target)(), ExportSource(make_file())
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    place = Path(folder) / f"x{made.suffix}"
    return source, place, made.write(source, place)


@functools.cache
def tokenizer(vocab_size: int, transform: str = "none") -> bytes:
    """A `.model` file of so many pieces."""
    documents = [make_document(seed) + " The CAP of Tokens\n" for seed in range(20)]
    made = train_tokenizer(documents, vocab_size, transform)  # type: ignore[arg-type]
    assert made.vocab_size == vocab_size
    return made.model


def about(context: int = 64) -> Provenance:
    return Provenance(
        recipe_digest="r",
        corpus_digest="c",
        checkpoint_digest="w",
        tokenizer_digest="t",
        lossless=True,
        context=context,
    )


def _tensor(name: str, role: str, shape: tuple[int, ...], how: str, rng: np.random.Generator) -> StoredTensor:
    """Floats, or the integers that GGUF has types for."""
    if how == "float" or len(shape) < 2:
        base = 1.0 if "norm" in name else 0.0
        return FloatTensor(role, (base + 0.15 * rng.standard_normal(shape)).astype(np.float32))
    if "down" in name:
        symbols = rng.integers(-120, 121, shape).astype(np.int16)
        return PerChannelQuantized(role, symbols, rng.uniform(5e-4, 2e-3, shape[0]).astype(np.float16))
    symbols = rng.integers(-7, 8, shape).astype(np.int16)
    return PerGroupQuantized(role, symbols, rng.uniform(0.01, 0.05, (shape[0], shape[1] // 32)).astype(np.float16), 32)


def make_file(
    spec: ModelSpec = LLAMA,
    how: str = "float",
    *,
    seed: int = 0,
    transform: str = "none",
    config: Any = None,
    **fields: Any,
) -> Artifact:
    """An artifact of a model with random weights."""
    spec, rng = dataclasses.replace(spec, **fields), np.random.default_rng(seed)
    with torch.device("meta"):
        model = GPT(spec)
    roles = parameter_roles(model)
    tensors = {n: _tensor(n, str(roles[n]), tuple(p.shape), how, rng) for n, p in model.named_parameters()}
    pieces = tokenizer(spec.vocab_size, transform)
    return loads(pack(spec, QuantizedModel(tensors), pieces, about(), config or ArtifactConfig()))


@functools.cache
def make_hugging_face_file(kind: str = "llama", dtype: torch.dtype = torch.float32, **changes: Any) -> Artifact:
    """The file of a Hugging Face folder with the weights as they are, in 32 bits."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = make_folder(Path(folder) / kind, kind, dtype=dtype, **changes)
        opened = open_folder(path)
        model = load_folder(opened, Silent())
        files = read_small(path, [*opened.model_files, *opened.tokenizer_files])
    tensors: dict[str, StoredTensor] = {
        name: FloatTensor("matrix", value.detach().numpy()) for name, value in model.module.named_parameters()
    }
    attached = Attached(files, {name: model.dtypes[name] for name in tensors})
    return loads(pack(None, QuantizedModel(tensors), b"", about(), ArtifactConfig(), attached))
