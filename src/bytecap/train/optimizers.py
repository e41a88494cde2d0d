"""Which optimizer moves which role, and how fast.

In:   a model whose parameters declare roles.
Out:  the optimizers, and one function that sets learning rate and momentum for a progress.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from bytecap.core.errors import ConfigError, DataError
from bytecap.core.settings import bounds, check_bounds
from bytecap.model.roles import Role, parameter_roles, refuse_unknown_roles
from bytecap.model.spec import ModelConfig
from bytecap.train.muon import Muon, Polynomials
from bytecap.train.schedules import Ramp, momentum_at, ramped, rate_multiplier
from bytecap.train.sharding import gather_tensors

_RATE, _SHARE, _BELOW_1 = bounds(0, 1000), bounds(0, 1), bounds(0, 0.999999)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Learning rates at their peak, and how they move over the run. Fractions are of the budget."""

    matrix_lr: float = field(default=0.04, metadata=_RATE)
    """Muon, for matrices."""
    embedding_lr: float = field(default=0.05, metadata=_RATE)
    """AdamW, for the embedding."""
    head_lr: float = field(default=0.008, metadata=_RATE)
    """AdamW, for an output map that is not tied to the embedding (`model.tied`)."""
    scalar_lr: float = field(default=0.04, metadata=_RATE)
    """AdamW, for gains, scales and mixes."""
    matrix_weight_decay: float = field(default=0.0, metadata=_RATE)
    """Decoupled decay of matrices."""
    matrix_weight_decay_end: float | None = field(default=None, metadata=_RATE)
    """Where the decay of matrices ends. None: it stays."""
    decay_ramp_start: float | None = field(default=None, metadata=bounds(0, 0.999999))
    """Fraction of the run after which it goes there. None: with the warmdown."""
    decay_ramp: Ramp = "cosine"
    """How it goes there: along half a cosine, or linear."""
    decay_after_update: bool = False
    """Matrices are decayed when their update has been added, not before."""
    embedding_weight_decay: float = field(default=0.0, metadata=_RATE)
    """Decoupled decay of the embedding."""
    head_weight_decay: float = field(default=0.0, metadata=_RATE)
    """Decoupled decay of an output map of its own."""
    scalar_weight_decay: float = field(default=0.0, metadata=_RATE)
    """Decoupled decay of gains, scales and mixes."""
    clip_norm: float | None = field(default=None, metadata=bounds(1e-9, 1e9))
    """Largest norm of all gradients together; longer ones are scaled down to it. None: no clip."""
    momentum: float = field(default=0.95, metadata=_BELOW_1)
    """Muon's momentum after its warm-up."""
    momentum_start: float = field(default=0.85, metadata=_BELOW_1)
    """Muon's momentum at the start."""
    momentum_warmup: float = field(default=0.1, metadata=_SHARE)
    """Fraction over which momentum rises."""
    newton_schulz_steps: int = field(default=5, metadata=bounds(1, 50))
    """Iterations of the orthogonalisation."""
    newton_schulz: Polynomials = "quintic"
    """Polynomials of these iterations: one for all, or the best for each in turn, "polar_express"."""
    adam_betas: tuple[float, float] = field(default=(0.9, 0.95), metadata=_BELOW_1)
    """AdamW's two decay rates."""
    adam_eps: float = field(default=1e-8, metadata=bounds(1e-30, 1))
    """What AdamW adds to the root of the second moment."""
    row_normalized: bool = False
    """Muon divides each row of an update by its length before the orthogonalisation (MuonEq-R)."""
    warmup: float = field(default=0.0, metadata=_SHARE)
    """Fraction over which the learning rates rise."""
    warmdown: float = field(default=0.5, metadata=_SHARE)
    """Last fraction, over which they fall."""
    floor: float = field(default=0.0, metadata=_SHARE)
    """Where they end, as a share of the peak."""
    last_step_moves: bool = False
    """Rates reach the floor behind the last step instead of in it: with a floor of 0 that step would move nothing."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of bounds."""
        check_bounds(self)
        if self.matrix_weight_decay_end is not None and self.decay_begin == 1:
            raise ConfigError(
                f"train.optimizer.matrix_weight_decay_end is {self.matrix_weight_decay_end}, which is reached over the "
                "warmdown, and train.optimizer.warmdown is 0; raise warmdown, set decay_ramp_start or leave the end out"
            )
        if self.matrix_weight_decay_end is None and self.decay_ramp_start is not None:
            raise ConfigError(
                f"train.optimizer.decay_ramp_start is {self.decay_ramp_start}, and without "
                "train.optimizer.matrix_weight_decay_end nothing changes there; set both or none"
            )

    @property
    def decay_begin(self) -> float:
        """Fraction of the run after which the decay of matrices changes."""
        return 1.0 - self.warmdown if self.decay_ramp_start is None else self.decay_ramp_start

    def check(self, model: ModelConfig) -> None:
        """Raise ConfigError for settings of a head in a model that has none of its own."""
        for name in ("head_lr", "head_weight_decay"):
            value = getattr(self, name)
            if model.tied and value != getattr(OptimizerConfig, name):
                raise ConfigError(
                    f"train.optimizer.{name} is {value}, and with model.tied = true the embedding is the head, which "
                    f"train.optimizer.{name.replace('head', 'embedding')} moves; set model.tied = false or leave it out"
                )


class Optimizers:
    """Muon for matrices, AdamW for the rest, driven by one progress."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self._config = config
        rates = {
            Role.MATRIX: config.matrix_lr, Role.EMBEDDING: config.embedding_lr, Role.HEAD: config.head_lr,
            Role.SCALAR: config.scalar_lr,
        }  # fmt: skip
        roles = parameter_roles(model)
        refuse_unknown_roles(roles, rates, "train/optimizers.py")
        self._names: dict[str, nn.Parameter] = dict(model.named_parameters())
        by_role = {role: [self._names[name] for name, its in roles.items() if its == role] for role in rates}
        self.muon = Muon(
            by_role[Role.MATRIX],
            lr=rates[Role.MATRIX],
            momentum=config.momentum,
            weight_decay=config.matrix_weight_decay,
            steps=config.newton_schulz_steps,
            row_normalized=config.row_normalized,
            decay_after_update=config.decay_after_update,
            polynomials=config.newton_schulz,
        )
        decays = {
            Role.EMBEDDING: config.embedding_weight_decay, Role.HEAD: config.head_weight_decay,
            Role.SCALAR: config.scalar_weight_decay,
        }  # fmt: skip
        groups = [
            {"params": by_role[role], "lr": rates[role], "weight_decay": decay}
            for role, decay in decays.items() if by_role[role]
        ]  # fmt: skip
        self.adamw = torch.optim.AdamW(groups, betas=config.adam_betas, eps=config.adam_eps, fused=True)
        self._peaks = [(group, float(group["lr"])) for group in self.muon.param_groups + self.adamw.param_groups]

    def matrix_rate(self, progress: float) -> float:
        """The matrices' learning rate at `progress`."""
        return self._config.matrix_lr * self._multiplier(progress)

    def _multiplier(self, progress: float) -> float:
        config = self._config
        return rate_multiplier(progress, warmup=config.warmup, warmdown=config.warmdown, floor=config.floor)

    def step(self, progress: float) -> None:
        """One update of everything, then gradients are dropped."""
        config, multiplier = self._config, self._multiplier(progress)
        for group, peak in self._peaks:
            group["lr"] = peak * multiplier
        for group in self.muon.param_groups:
            group["momentum"] = momentum_at(
                progress, start=config.momentum_start, end=config.momentum, warmup=config.momentum_warmup
            )
            group["weight_decay"] = ramped(
                progress,
                start=config.matrix_weight_decay,
                end=config.matrix_weight_decay_end,
                begin=config.decay_begin,
                ramp=config.decay_ramp,
            )
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._names.values(), config.clip_norm)
        for optimizer in (self.muon, self.adamw):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Every state tensor, named `<parameter>/<state>`, those that other ranks hold included; all must call this."""
        muon, adamw = (
            {
                f"{name}/{key}": value
                for name, parameter in self._names.items()
                for key, value in optimizer.state.get(parameter, {}).items()
            }
            for optimizer in (self.muon, self.adamw)
        )
        return gather_tensors(muon, next(iter(self._names.values())).device) | adamw

    def load_state_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore what `state_tensors` gave; DataError for the state of another model."""
        adam = {id(p) for group in self.adamw.param_groups for p in group["params"]}
        for full_name, value in tensors.items():
            name, _, key = full_name.rpartition("/")
            parameter = self._names.get(name)
            if parameter is None or (key != "step" and value.shape != parameter.shape):
                raise DataError(
                    f"the checkpoint holds the optimizer state {full_name} of shape {tuple(value.shape)}, which no "
                    "parameter of this model has; delete the checkpoint to train again"
                )
            optimizer: torch.optim.Optimizer = self.adamw if id(parameter) in adam else self.muon
            if optimizer is self.muon and not self.muon.shards.owns(parameter):
                continue
            optimizer.state[parameter][key] = value.to(parameter.device, copy=True)  # fused AdamW wants its steps there
