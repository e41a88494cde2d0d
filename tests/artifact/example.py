"""A small artifact with known content."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from bytecap.artifact.pack import ArtifactConfig, Provenance, pack
from bytecap.core.digest import digest_bytes
from bytecap.formats.base import StoredTensor
from bytecap.formats.floats import FloatTensor
from bytecap.formats.low_rank_corrected import LowRank, LowRankCorrected
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.per_tensor import PerTensorQuantized
from bytecap.formats.row_column import RowColumnQuantized
from bytecap.formats.tensor import QuantizedModel
from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.text.tokenizer_training import train_tokenizer
from tests.conftest import make_document

SPEC = ModelSpec(vocab_size=300, n_layers=2, d_model=8, n_heads=2, n_kv_heads=1, d_ff=12)
ABOUT = Provenance(
    recipe_digest="r", corpus_digest="c", checkpoint_digest="w", tokenizer_digest="t", lossless=True, context=32
)


def example_model(spread: int = 9) -> QuantizedModel:
    """Random integers for every tensor of SPEC, in every grid: embedding and values published style, 32-bit scalars."""
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        model = GPT(SPEC)
    tensors: dict[str, StoredTensor] = {}
    roles = parameter_roles(model)
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if "query" in name and roles[name] is Role.SCALAR:
            tensors[name] = PerTensorQuantized(
                "scalar", rng.integers(-spread, spread + 1, shape).astype(np.int16), 0.03
            )
        elif roles[name] is Role.SCALAR:
            values = rng.normal(size=shape)
            tensors[name] = FloatTensor(
                "scalar", values.astype(np.float32) if "techniques" in name else values.astype(np.float16)
            )
        else:
            symbols = rng.integers(-spread, spread + 1, shape).astype(np.int16)
            if roles[name] is Role.EMBEDDING:
                tensors[name] = PerChannelQuantized(
                    "embedding", symbols, rng.uniform(0.1, 1, shape[0]).astype(np.float16)
                )
                continue
            if "value" in name:
                tensors[name] = LowRankCorrected(
                    PerChannelQuantized("matrix", symbols, rng.uniform(0.1, 1, shape[0]).astype(np.float16)),
                    example_repair(rng, shape[0], shape[1]),
                )
                continue
            rows, columns = (rng.integers(-9, 9, size).astype(np.int8) for size in shape)
            tensors[name] = RowColumnQuantized("matrix", symbols, 0.01, rows, columns, 1 if "out" in name else 8)
    return QuantizedModel(tensors)


def example_repair(rng: np.random.Generator, rows: int, columns: int) -> LowRank:
    """Integers over the whole range of both factors."""
    return LowRank(
        rng.integers(-2, 2, (rows, 4)).astype(np.int8), np.float16(0.3),
        rng.integers(-8, 8, (4, columns)).astype(np.int8), np.array([0.2], np.float16),
    )  # fmt: skip


def example_tokenizer() -> bytes:
    """A model of 300 pieces."""
    return train_tokenizer((make_document(i) for i in range(20)), 300).model


def example_file(
    *, compressor: str = "brotli", spread: int = 9, embed: bool = True, spec: ModelSpec | None = SPEC
) -> bytes:
    """The bytes of a valid file; without a spec, of weights alone."""
    config = ArtifactConfig(cap_bytes=10**6, compressor=compressor, embed_tokenizer=embed)
    tokenizer = example_tokenizer()
    about = dataclasses.replace(ABOUT, tokenizer_digest=digest_bytes(tokenizer))
    return pack(spec, example_model(spread), tokenizer, about, config)
