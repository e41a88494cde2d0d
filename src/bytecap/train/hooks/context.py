"""A shorter context until `start`: each window is cut into rows, so a step reads the same tokens and attends less far.

    a window of T + 1 tokens -> T / S rows of S + 1, of which neighbours share one token

Letters: B windows, T positions of a window (`train.context`), S positions of a row, N rows.
Source:  sequence length warm-up, arXiv 2108.06084; openai/parameter-golf PR #2014 grew its context in three stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds
from bytecap.model.spec import MAX_CONTEXT, ModelConfig
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.base import HookConfig, TrainingHook

if TYPE_CHECKING:
    from bytecap.train.loop import TrainingJob

SHARE = 4


@dataclass(frozen=True, kw_only=True)
class ContextConfig(HookConfig):
    """How short it is, and until when."""

    start: float = field(default=0.5, metadata=bounds(1e-6, 1.0))
    """Fraction of the run after which rows have `train.context` positions."""
    before: int = field(default=0, metadata=bounds(0, MAX_CONTEXT))
    """Positions S of a row before that; a divisor of `train.context`. 0: a quarter of it."""

    def positions(self, context: int) -> int:
        """S for windows of `context` positions."""
        return self.before or max(1, context // SHARE)

    def check(self, train: TrainConfig, model: ModelConfig) -> None:
        """Raise ConfigError for rows that a window cannot be cut into, or that are the window itself."""
        short = self.positions(train.context)
        if short == train.context:
            raise ConfigError(
                f"before is {short}, and train.context too, so nothing would change at the start; lower before, or "
                "leave the hook out with --set train.hooks.context=false"
            )
        if short > train.context or train.context % short:
            raise ConfigError(
                f"before is {short}; it must be a divisor of train.context, which is {train.context}: windows of the "
                "text are that long, and are cut into equal rows"
            )


class ShortContext(TrainingHook):
    """Cuts the rows; keeps nothing."""

    config_class = ContextConfig
    changes = ("data",)

    def __init__(self, config: ContextConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config = config
        self.positions = 0

    def prepare(self, job: TrainingJob) -> None:
        """Keep the length of a row."""
        self.positions = self.config.positions(job.config.context)

    @property
    def switches(self) -> tuple[float, ...]:
        """The start."""
        return (self.config.start,)

    def rows(self, rows_BT: Tensor, progress: float) -> Tensor:
        """(B, T + 1) to (N, S + 1) before the start; unchanged from then on."""
        if progress >= self.config.start:
            return rows_BT
        return rows_BT.unfold(1, self.positions + 1, self.positions).reshape(-1, self.positions + 1)
