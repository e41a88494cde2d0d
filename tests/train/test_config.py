"""Settings of training that cannot be are refused before anything is written."""

import math

import pytest

from bytecap.core.errors import ConfigError
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.ema import EMAConfig
from bytecap.train.optimizers import OptimizerConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seconds": 0.0}, "seconds is 0.0; it must lie between"),
        ({"seconds": math.nan}, "seconds is nan; it must be a finite number"),
        ({"seconds": math.inf}, "seconds is inf; it must be a finite number"),
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": 10**9}, "batch is 1000000000; it must lie between 1 and 1,048,576"),
        ({"batch": 1 << 20, "context": 1024}, "is 1,073,741,824 tokens a step, at most"),
        ({"context": 1}, "context is 1"),
        ({"context": 1 << 20}, "context is 1048576; it must lie between 2 and 16,384"),
        ({"batch": 4, "micro_batch": 3}, "train.micro_batch 3 must divide train.batch 4"),
        ({"checkpoint_seconds": -1.0}, "checkpoint_seconds is -1.0"),
        (
            {"exported_weights": "ema"},
            "is ema, and this run gives last; .* --set train.hooks.ema=true",
        ),
        ({"exported_weights": "emo", "hooks": {"ema": EMAConfig()}}, "is emo, and this run gives last, ema"),
    ],
)
def test_wrong_values_are_refused_by_field(settings: dict[str, object], message: str) -> None:
    """Each names the field, what was found and what is possible."""
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matrix_lr": math.nan}, "matrix_lr is nan"),
        ({"embedding_lr": -0.1}, "embedding_lr is -0.1"),
        ({"scalar_lr": 1e6}, "scalar_lr is 1000000.0; it must lie between 0 and 1,000"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"adam_betas": (0.9, 1.5)}, "adam_betas is 1.5"),
        ({"warmdown": 1.5}, "warmdown is 1.5"),
        ({"newton_schulz_steps": 0}, "newton_schulz_steps is 0"),
    ],
)
def test_optimizer_refused(settings: dict[str, object], message: str) -> None:
    """Bounds stand beside the fields."""
    with pytest.raises(ConfigError, match=message):
        OptimizerConfig(**settings)  # type: ignore[arg-type]


def test_exported_weights_of_a_hook() -> None:
    """Named where the hook is on."""
    config = TrainConfig(hooks={"ema": EMAConfig(decay=0.5)}, exported_weights="ema")
    assert config.exported_weights == "ema"
