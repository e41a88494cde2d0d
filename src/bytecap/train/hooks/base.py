"""What a training hook is: code that runs around each step and at the end, with settings and a state of its own.

A training hook is one file in this folder: a frozen dataclass of settings, and one subclass of TrainingHook that names
it. The file's name is the hook's name everywhere: in a recipe (`[train.hooks.ema]`), in checkpoints (`hooks/ema/…`), on
the command line. Nothing else lists it (docs/extending.md). A phase of training is a hook with a `start`: the fraction
of the run after which it is another.

Letters: B sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from torch import Tensor, nn

from bytecap.model.mean_loss import MixtureWeights

if TYPE_CHECKING:
    from bytecap.model.spec import ModelConfig
    from bytecap.train.config import TrainConfig
    from bytecap.train.loop import TrainingJob

Change: TypeAlias = Literal["graph", "weights", "data", "loss", "average", "statistics"]
"""What a hook may change: the forward pass, the weights that it reads, the rows, how their losses are weighed, which
weights there are at the end, what is known about the run at the end."""


@dataclass(frozen=True, kw_only=True)
class HookConfig:
    """The settings of a training hook; one without any keeps this class empty."""

    def check(self, train: TrainConfig, model: ModelConfig) -> None:
        """Raise ConfigError for settings that this run does not allow, or with which the hook would change nothing."""


class TrainingHook:
    """Base of all training hooks: each method does nothing unless overridden.

    A step is `before_step`, `rows` and `mixture` for each part of the batch, forward and backward passes,
    `after_backward`, the optimizers, `after_step`.
    """

    config_class: ClassVar[type[HookConfig]] = HookConfig
    """The settings."""
    changes: ClassVar[tuple[Change, ...]] = ()
    """What a run with it has differently; a contract test holds it to that."""
    gives_weights: ClassVar[bool] = False
    """True when `at_end` gives weights, which `train.exported_weights` may name."""
    keeps_state: ClassVar[bool] = False
    """True when a finished checkpoint keeps what `state_tensors` gives."""

    def __init__(self, config: HookConfig, model: nn.Module) -> None:
        pass

    def prepare(self, job: TrainingJob) -> None:
        """Look at the run that it joins; called once, before anything else."""

    @property
    def switches(self) -> tuple[float, ...]:
        """Where in the run it changes the graph or the shape of the rows: each is compiled before the clock starts."""
        return ()

    def before_step(self, model: nn.Module, progress: float) -> None:
        """Make the model what this step needs; `progress` is 0 in the first step, 1 in the last, and never falls.

        A hook that changes the graph goes by `progress` alone: it is also called ahead, to compile, and after a resume.
        """

    def rows(self, rows_BT: Tensor, progress: float) -> Tensor:
        """The rows of this step, (B, T + 1): inputs are all columns but the last, targets all but the first.

        They may be cut; the targets stay in their order. They lie on the CPU, and go to the device afterwards.
        """
        return rows_BT

    def mixture(self, starts: Sequence[int], progress: float) -> MixtureWeights | None:
        """What will be mixed into the model's distribution at the targets of this step's rows, in their order.

        `starts` says where in the stream each window begins, as it was before `rows`. None: nothing is mixed in.
        """
        return None

    def after_backward(self, model: nn.Module, progress: float) -> None:
        """Called when every parameter has its gradient of the whole batch, not yet clipped."""

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Called when the optimizers have moved the weights."""

    def at_end(self, model: nn.Module) -> dict[str, Tensor]:
        """Weights to be kept in the finished checkpoint in addition to the last ones, by parameter."""
        return {}

    def state_tensors(self) -> dict[str, Tensor]:
        """All that a run needs to resume from a checkpoint as if it had not stopped."""
        return {}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_tensors` gave, on this machine's device."""
