"""The shape of a model: every number needed to build it, and nothing else.

In:   a `[model]` table and the vocabulary of the tokens.
Out:  a ModelSpec, the same in a recipe, a checkpoint and an artifact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds, check_bounds, history, tables_by_name
from bytecap.core.settings_reader import from_sparse
from bytecap.model.techniques import in_order, technique_config, with_defaults
from bytecap.model.techniques.base import TechniqueConfig

MAX_LAYERS = 256
MAX_WIDTH = 65_536
MAX_CONTEXT = 1 << 14
"""Positions of a scoring window: a mask of all pairs then has 256 MiB."""
MAX_SEED = 1 << 62
"""Seeds of weights, order of text and samples are smaller; every generator takes them."""
Activation: TypeAlias = Literal["relu2", "leaky_relu2", "gelu", "swiglu"]
Backbone: TypeAlias = Literal["baseline", "llama"]
Init: TypeAlias = Literal["default", "orthogonal", "overtone"]
_COUNT = bounds(1, MAX_WIDTH)
_POSITIVE = bounds(1e-30, 1e30)


def tables_from_names(value: Any) -> Any:
    """The list of techniques of version 0.1.0 as tables; anything else as it is.

    ConfigError where the list asks for what is gone: one twice, or an order in which techniques no longer run.
    """
    if not (isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)):
        return value
    if len(set(value)) != len(value):
        raise ConfigError(f"names one twice: {', '.join(value)[:80]}; leave one out")
    ordered = in_order(value)
    if ordered != list(value):
        raise ConfigError(
            f"lists {', '.join(value)}, and this version runs them as {', '.join(ordered)}: to continue with the "
            "first, install bytecap 0.1.0; for a new model, give each a table of its own"
        )
    return {name: {} for name in value}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A decoder-only transformer. Source of the backbone: openai/parameter-golf, the naive baseline."""

    block: Backbone = "baseline"
    """What stands around the maps of a block. "baseline": norms without weights, one of the embeddings too, normalised
    queries and keys with a learned gain, a learned scale of what attention and MLP add. "llama": norms with weights and
    nothing else, as Llama has them; with `activation = "swiglu"`, `logit_softcap = 0` and no techniques other programs
    run the model."""
    n_layers: int = field(default=9, metadata=bounds(1, MAX_LAYERS))
    """Blocks."""
    d_model: int = field(default=512, metadata=_COUNT)
    """Width D of the residual stream."""
    n_heads: int = field(default=8, metadata=_COUNT)
    """Query heads H; D / H is the head width and must be even."""
    n_kv_heads: int = field(default=4, metadata=_COUNT)
    """Key/value heads G; must divide H."""
    d_ff: int = field(default=1024, metadata=_COUNT)
    """Hidden width F of the MLP."""
    rope_base: float = field(default=10_000.0, metadata=_POSITIVE)
    """Base of the rotary frequencies."""
    rope_dims: int = field(default=0, metadata=bounds(0, MAX_WIDTH))
    """Channels of each head that positions turn, an even number; the others carry no position. 0: the whole head."""
    activation: Activation = "relu2"
    """Between the MLP's two maps: squared ReLU, the square of leaky ReLU with slope 0.5, GELU, or SwiGLU, which has a
    third map (F, D), the gate."""
    ln_scale: bool = False
    """What the attention and the MLP of block i (from 0) read is divided by √(i + 1)."""
    qk_gain: float = field(default=1.5, metadata=_POSITIVE)
    """Start of the learned gain on the normalised queries, one for each head; block "llama" has none."""
    logit_softcap: float = field(default=30.0, metadata=bounds(0, 1e30))
    """Logits are c tanh(z / c); 0: as they are."""
    tied: bool = True
    """The embedding is the output map too. False: the output map is a matrix (V, D) of its own, which starts at 0."""
    embedding_std: float = field(default=0.005, metadata=_POSITIVE)
    """Standard deviation of the embedding at the start."""
    init: Init = "default"
    """How training starts the other weights: uniform and zero, or orthogonal matrices in place of the uniform ones, or
    an embedding whose k-th singular value is the first one divided by √k ("overtone")."""
    techniques: Mapping[str, TechniqueConfig] = field(
        default_factory=lambda: with_defaults("unet_skips", "residual_mix"),
        metadata=tables_by_name(technique_config) | history(upgrade=tables_from_names),
    )
    """Techniques that are switched on, each with its settings, in the order in which they join."""
    across_documents: bool = False
    """Attention sees earlier documents of the same window."""

    def __post_init__(self) -> None:
        """Raise ConfigError for shapes that cannot be built."""
        check_bounds(self)
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(
                f"model.d_model {self.d_model} must be a multiple of twice model.n_heads {self.n_heads}, because "
                "rotary positions turn pairs of channels"
            )
        if self.rope_dims > self.d_head or self.rope_dims % 2:
            raise ConfigError(
                f"model.rope_dims is {self.rope_dims}; it must be an even number of at most {self.d_head}, the head "
                f"width (model.d_model {self.d_model} / model.n_heads {self.n_heads}), or 0 for the whole head"
            )
        if self.block == "llama" and self.qk_gain != ModelConfig.qk_gain:
            raise ConfigError(
                f"model.qk_gain is {self.qk_gain}, and model.block = llama has no gain on its queries; leave it out, "
                "or set model.block = baseline"
            )
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(f"model.n_heads {self.n_heads} must be a multiple of model.n_kv_heads {self.n_kv_heads}")
        object.__setattr__(self, "techniques", {name: self.techniques[name] for name in in_order(self.techniques)})
        for name, config in self.techniques.items():
            try:
                check_bounds(config)
                config.selected_blocks(self)
                config.check(self)
            except ConfigError as error:
                raise ConfigError(f"model.techniques.{name}: {error}") from error

    @property
    def d_head(self) -> int:
        """Head width K."""
        return self.d_model // self.n_heads

    @property
    def rotary_dims(self) -> int:
        """Channels R of a head that positions turn."""
        return self.rope_dims or self.d_head

    @property
    def visits(self) -> list[int]:
        """The longest order in which blocks are ever visited: training may begin with a shorter one."""
        blocks = list(range(self.n_layers))
        for config in self.techniques.values():
            blocks = config.visits(blocks)
        return blocks


@dataclass(frozen=True, kw_only=True)
class ModelSpec(ModelConfig):
    """A ModelConfig with its vocabulary: enough to build the model."""

    vocab_size: int = field(metadata=_COUNT)

    @classmethod
    def of(cls, config: ModelConfig, vocab_size: int) -> Self:
        """The spec of a config for a vocabulary."""
        fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        return cls(**fields, vocab_size=vocab_size)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote in this version or an older one; ConfigError names the entry that is wrong."""
        return from_sparse(cls, value, origin="a model spec")
