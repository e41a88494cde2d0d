"""What `bytecap.fit` refuses, and with which words."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bytecap
from bytecap.core.errors import BudgetError, ConfigError
from tests.modules import Tiny, data_losses, logits_and_labels, next_token, tiny_batches, trained


def test_a_cap_that_cannot_be_met() -> None:
    """The smallest size is named."""
    model, batches = trained()
    with pytest.raises(BudgetError, match="take at least"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes=100)
    with pytest.raises(ConfigError, match="is not a size"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes="3 parsecs")


def test_a_progress_of_another_kind() -> None:
    """Is refused before anything is measured."""
    model, batches = trained()
    with pytest.raises(ConfigError, match="progress needs the methods"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes=5000, progress=print)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (lambda logits, label: 1.0, "gave a float"),
        (lambda logits, label: logits.mean().square(), r"gave a tensor of torch.float32 \(\)"),
        (lambda logits, label: logits, "gave losses down to -"),
        (lambda logits, label: (label, logits), "gave tensors of torch.int64"),
        (lambda logits, label: (logits, label.float()), r"and torch.float32 \(64,\)"),
        (lambda logits, label: (logits, label, 1), "gave a tuple of Tensor, Tensor, int"),
    ],
)
def test_a_loss_of_another_kind(given: Any, found: str) -> None:
    """Is a sentence that says what came and what should."""
    label = torch.zeros(64, dtype=torch.long)
    with pytest.raises(ConfigError, match=rf"{found}.*; it must return \(logits \(N, V\), whole labels"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=lambda m, x: given(m(x), label), cap_bytes=2000)


@pytest.mark.parametrize("cap", [None, True, 2000.0])
def test_caps_that_are_none(cap: Any) -> None:
    """A cap is a whole number or a size; what is fitted is a module."""
    with pytest.raises(ConfigError, match="a whole number of bytes"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=data_losses, cap_bytes=cap)
    nothing: Any = {}
    with pytest.raises(ConfigError, match="no torch module"):
        bytecap.fit(nothing, [torch.randn(64, 3)], loss=data_losses, cap_bytes=2000)


def test_labels_without_a_logit_and_models_without_weights() -> None:
    """Are refused."""
    model, batches = trained()

    def too_large(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        return model(batch), batch + 40

    with pytest.raises(ConfigError, match="one label for each position, below the number of logits"):
        bytecap.fit(model, batches[:1], loss=too_large, cap_bytes=3500)
    with pytest.raises(ConfigError, match="no torch module with parameters"):
        bytecap.fit(nn.Tanh(), batches[:1], loss=data_losses, cap_bytes=3500)


@pytest.mark.parametrize(
    ("given", "found"),
    [({"batches": None}, "batches to go through"), ({"loss": None}, "a function loss"), ({"config": {}}, None),
     ({"config": {"states": 8}}, "a QuantConfig if any")],
)  # fmt: skip
def test_arguments_of_other_kinds(given: dict[str, object], found: str | None) -> None:
    """Are named; an empty config is the default one."""
    model, batches = trained()
    arguments: dict[str, Any] = {"batches": batches[:4], "loss": logits_and_labels, "cap_bytes": 3500, **given}
    if found is None:
        assert bytecap.fit(model, **arguments).size_bytes <= 3500
        return
    with pytest.raises(ConfigError, match=found):
        bytecap.fit(model, **arguments)


def test_modules_without_values_are_refused() -> None:
    """Lazy modules before their first batch, and modules on the meta device."""
    lazy = nn.Sequential(nn.Embedding(24, 16), nn.LazyLinear(24))
    with pytest.raises(ConfigError, match=r"1\.weight is not initialized; run the model once"):
        bytecap.fit(lazy, tiny_batches(), loss=next_token, cap_bytes=3_000)
    with pytest.raises(ConfigError, match="meta device"):
        bytecap.fit(Tiny().to("meta"), tiny_batches(), loss=next_token, cap_bytes=3_000)
