"""The settings of training: `[train]`, with `[train.optimizer]` and a table for each hook in `[train.hooks]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds, check_bounds, tables_by_name
from bytecap.model.spec import MAX_CONTEXT, ModelConfig
from bytecap.train.hooks import HOOKS, hook_config
from bytecap.train.hooks.base import HookConfig
from bytecap.train.optimizers import OptimizerConfig

MAX_BATCH = 1 << 20
MAX_STEP_TOKENS = 1 << 26
"""Most tokens of one optimizer step: 85 times the largest of the published runs."""
MatmulPrecision: TypeAlias = Literal["float32", "bfloat16"]
BFLOAT16: MatmulPrecision = "bfloat16"
LAST = "last"
"""The weights that training ends with, in addition to those that hooks give."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The clock, the batch, the optimizers and what else runs with them."""

    seconds: float = field(default=600.0, metadata=bounds(1e-3, 10**9))
    """Wall-clock budget of training; compilation and checkpoints are not charged."""
    steps: int | None = field(default=None, metadata=bounds(1, 10**9))
    """A budget in steps instead of seconds, for runs that must repeat exactly."""
    batch: int = field(default=16, metadata=bounds(1, MAX_BATCH))
    """Sequences B in each optimizer step."""
    micro_batch: int | None = field(default=None, metadata=bounds(1, MAX_BATCH))
    """Sequences run at once; gradients accumulate over batch / micro_batch. None: the whole batch."""
    context: int = field(default=256, metadata=bounds(2, MAX_CONTEXT))
    """Positions T of each sequence."""
    checkpoint_seconds: float = field(default=30.0, metadata=bounds(0, 10**9))
    """Seconds between checkpoints."""
    compile: bool = True
    """A GPU run is compiled; a CPU run never is."""
    matmul_precision: MatmulPrecision = "float32"
    """Operands of the matrix products of forward and backward pass on a CPU; sums and all else are float32. Where the
    processor has no products of bfloat16 they are float32, and the record says so. A GPU always has bfloat16."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Learning rates and schedules."""
    hooks: Mapping[str, HookConfig] = field(default_factory=dict, metadata=tables_by_name(hook_config))
    """What runs around each step and at the end, each with its settings."""
    exported_weights: str = LAST
    """Which weights a finished checkpoint is of: "last", or those of a hook such as "ema"; it keeps the others too."""

    def __post_init__(self) -> None:
        """Raise ConfigError for impossible budgets and batches, and for weights that no hook gives."""
        check_bounds(self)
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ConfigError(f"train.micro_batch {self.micro_batch} must divide train.batch {self.batch}")
        if self.batch * self.context > MAX_STEP_TOKENS:
            raise ConfigError(
                f"train.batch {self.batch:,} times train.context {self.context:,} is {self.batch * self.context:,} "
                f"tokens a step, at most {MAX_STEP_TOKENS:,} are possible; lower one of them"
            )
        object.__setattr__(self, "hooks", {name: self.hooks[name] for name in sorted(self.hooks)})
        known = [LAST, *(name for name in self.hooks if HOOKS.find(name).gives_weights)]
        if self.exported_weights not in known:
            wanted = ascii(self.exported_weights[:40])[1:-1]
            raise ConfigError(
                f"train.exported_weights is {wanted}, and this run gives {', '.join(known)}; choose one of them, or "
                f"switch on the hook with --set train.hooks.{wanted}=true"
            )

    def check_hooks(self, model: ModelConfig) -> None:
        """Raise ConfigError for a hook with impossible settings or one that changes nothing in a run of this model."""
        self.optimizer.check(model)
        for name, config in self.hooks.items():
            try:
                check_bounds(config)
                config.check(self, model)
            except ConfigError as error:
                raise ConfigError(f"train.hooks.{name}: {error}") from error
