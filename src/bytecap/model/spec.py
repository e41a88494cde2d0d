"""The shape of a model: every number needed to build it, and nothing else.

In:   a `[model]` table and the vocabulary of the tokens.
Out:  a ModelSpec, the same in a recipe, a checkpoint and an artifact.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from bytecap.core.errors import ConfigError
from bytecap.core.settings import from_sparse, to_sparse

MAX_LAYERS = 256
MAX_WIDTH = 65_536


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A decoder-only transformer. Source of the backbone: openai/parameter-golf, the naive baseline."""

    n_layers: int = 9
    """Blocks."""
    d_model: int = 512
    """Width D of the residual stream."""
    n_heads: int = 8
    """Query heads H; D / H is the head width and must be even."""
    n_kv_heads: int = 4
    """Key/value heads G; must divide H."""
    d_ff: int = 1024
    """Hidden width F of the MLP."""
    rope_base: float = 10_000.0
    """Base of the rotary frequencies."""
    qk_gain: float = 1.5
    """Start of the learned gain on the normalised queries, one for each head."""
    logit_softcap: float = 30.0
    """Logits are c tanh(z / c)."""
    embedding_std: float = 0.005
    """Standard deviation of the embedding at the start."""
    techniques: tuple[str, ...] = ("unet_skips", "residual_mix")
    """Techniques joined to the seams, in the order in which they run."""
    across_documents: bool = False
    """Whether attention sees earlier documents of the same window."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec(ModelConfig):
    """A ModelConfig with its vocabulary: enough to build the model."""

    vocab_size: int

    def __post_init__(self) -> None:
        """ConfigError for shapes that cannot be built."""
        for name in ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size"):
            value, most = getattr(self, name), MAX_LAYERS if name == "n_layers" else MAX_WIDTH
            if not 1 <= value <= most:
                raise ConfigError(f"model.{name} is {value}; it must lie between 1 and {most:,}")
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(
                f"model.d_model {self.d_model} must be a multiple of twice model.n_heads {self.n_heads}, because "
                "rotary positions turn pairs of channels"
            )
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(f"model.n_heads {self.n_heads} must be a multiple of model.n_kv_heads {self.n_kv_heads}")
        for name in ("logit_softcap", "rope_base", "qk_gain", "embedding_std"):
            if not 0 < getattr(self, name) < 1e30:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; it must be positive and finite")
        if len(set(self.techniques)) != len(self.techniques):
            raise ConfigError(f"model.techniques names one twice: {', '.join(self.techniques)[:80]}")

    @property
    def d_head(self) -> int:
        """Head width K."""
        return self.d_model // self.n_heads

    def to_json(self) -> dict[str, Any]:
        """What differs from the first defaults (core/settings.py), as JSON values."""
        return to_sparse(self)

    @classmethod
    def of(cls, config: ModelConfig, vocab_size: int) -> Self:
        """The spec of a config for a vocabulary."""
        return cls(**dataclasses.asdict(config), vocab_size=vocab_size)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote in this version or an older one; ConfigError names the entry that is wrong."""
        return from_sparse(cls, value, origin="a model spec")
