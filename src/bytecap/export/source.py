"""A `.bcap` file as targets see it: weights by name, logits of any tokens, and what is known of both.

In:   an Artifact, and the tokenizer around it.
Out:  an ExportSource.

Letters: B sequences, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from bytecap.artifact.load import Artifact
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.core.errors import ConfigError, NumericsError
from bytecap.core.units import counted
from bytecap.huggingface.model import CausalModel, is_hugging_face, load_artifact, model_logits
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.text.tokenizer import Tokenizer

TOLERANCE = 1e-5
"""Difference of two logits over the largest of them, from float32 sums in another order, and for 24 blocks or more."""


class Logits(nn.Module):
    """A model of ours as a function of tokens alone."""

    def __init__(self, model: GPT, bos: int) -> None:
        super().__init__()
        self.model, self.bos = model, bos

    def forward(self, input_ids: Tensor) -> Tensor:
        """What follows each token, (B, T) to (B, T, V)."""
        return self.model.logits(self.model.hidden(input_ids, self.bos))


class CausalLogits(nn.Module):
    """A model of transformers as a function of tokens alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """What follows each token, (B, T) to (B, T, V)."""
        return model_logits(self.model, input_ids)


@dataclass(frozen=True)
class ExportSource:
    """What is exported."""

    artifact: Artifact
    other_tokenizer: Tokenizer | None = None
    """The tokenizer of the run around the file, where the file has none."""
    trust_code: bool = False
    """Code in the file of a Hugging Face model may run."""

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The weights by name, float32, whole numbers and truth values in their own types."""
        return self.artifact.state_dict()

    @property
    def is_hugging_face(self) -> bool:
        """True for the file of a Hugging Face folder."""
        return is_hugging_face(self.artifact)

    @property
    def spec(self) -> ModelSpec:
        """The shape of a model of ours; ConfigError for weights of another program's model."""
        if self.artifact.spec is None:
            raise ConfigError(
                "the file holds weights without a model, and this target needs to know the model around them; export "
                "--to safetensors, and load that into the module that they were taken from"
            )
        return self.artifact.spec

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of a model of ours; DataError where there is none."""
        _ = self.spec  # weights alone are refused with the message of an export
        return artifact_tokenizer(self.artifact, self.other_tokenizer)

    @cached_property
    def causal(self) -> CausalModel:
        """The model of a Hugging Face folder, in float32."""
        return load_artifact(self.artifact, trust_code=self.trust_code)

    @cached_property
    def module(self) -> nn.Module:
        """Token ids (B, T) to logits (B, T, V), float32 on CPU."""
        if self.is_hugging_face:
            return CausalLogits(self.causal.module).eval()
        _ = self.spec
        return Logits(self.artifact.model(), self.tokenizer.bos).eval().requires_grad_(False)

    @property
    def vocab_size(self) -> int:
        """Tokens that logits are of."""
        return self.causal.facts.vocab_size if self.is_hugging_face else self.spec.vocab_size

    @property
    def context(self) -> int:
        """Positions of a window, and for a Hugging Face model those that it knows, where that is limited."""
        known = self.causal.facts.max_positions if self.is_hugging_face else None
        return known or self.artifact.context

    @torch.no_grad()
    def logits(self, tokens_BT: Tensor) -> Tensor:
        """What the model says, (B, T, V)."""
        logits_BTV: Tensor = self.module(tokens_BT)
        return logits_BTV.float()

    def probes(self, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Tokens to compare on, (B, T) for each shape, the same in every call; each row is one document of ours.

        Rows are no longer than the positions that the model knows.
        """
        generator = torch.Generator().manual_seed(0)
        first = None if self.is_hugging_face else self.tokenizer.bos
        found = []
        for rows, positions in shapes:
            shape = (rows, min(positions, self.context))
            tokens_BT = torch.randint(self.vocab_size, shape, generator=generator)
            if first is not None:
                tokens_BT[tokens_BT == first] = (first + 1) % self.vocab_size
                tokens_BT[:, 0] = first
            found.append(tokens_BT)
        return found


def compare_logits(found_BTV: Tensor, expected_BTV: Tensor, reader: str, tolerance: float = TOLERANCE) -> float:
    """The largest difference over the largest logit; NumericsError where it is above `tolerance`, or no number."""
    scale = max(1.0, float(expected_BTV.abs().max()))
    if found_BTV.shape != expected_BTV.shape:
        raise NumericsError(
            f"{reader} gives logits of shape {tuple(found_BTV.shape)}, the file's model {tuple(expected_BTV.shape)}; "
            "nothing was written. Export --to safetensors instead"
        )
    error = float((found_BTV.float() - expected_BTV).abs().max()) / scale
    if not error <= tolerance:
        raise NumericsError(
            f"{reader} gives logits that differ from the file's by {error:.2g} of the largest, more than "
            f"{tolerance:.0g}; nothing was written. Export --to safetensors instead",
            error=error,
        )
    return error


def compare_weights(found: dict[str, Tensor], expected: dict[str, Tensor], reader: str) -> str:
    """What is said of equal weights; NumericsError where a tensor is missing, additional or different."""
    if odd := sorted(found.keys() ^ expected.keys()):
        raise NumericsError(f"{reader} finds other tensors than the file has, such as {odd[0]}; nothing was written")
    for name, value in expected.items():
        if found[name].shape != value.shape or not torch.equal(found[name], value):
            raise NumericsError(f"{reader} finds other numbers in tensor {name} than the file has; nothing was written")
    numbers = sum(value.numel() for value in expected.values())
    return (
        f"all {numbers:,} numbers of {counted(len(expected), 'tensor')} are those of the file, read back with {reader}"
    )
