"""The loss of a model with other weights, against the same written out."""

import pytest
import torch
from torch import Tensor, nn

from bytecap.fitting.true_loss import Increase, TrueLoss


def test_divergence_and_losses() -> None:
    """KL where there are logits, the difference of losses where those are given; the model stays as it was."""
    torch.manual_seed(0)
    model, batches = nn.Linear(4, 3), [torch.randn(5, 4), torch.randn(7, 4)]
    other = model.weight.detach() + 0.1 * torch.randn(3, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = {"weight": other.numpy()}

    def logits(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        return model(x), torch.zeros(len(x), dtype=torch.long)

    def drawn(model: nn.Module, x: Tensor) -> Tensor:
        return (model(x) - torch.randn(len(x), 3)).square().sum(1)

    x = torch.cat(batches)
    old, new = (x @ w.T + model.bias.detach() for w in (model.weight.detach(), other))
    kl = (old.softmax(1) * (old.log_softmax(1) - new.log_softmax(1))).sum(1)
    found = TrueLoss(model, logits, batches, {})(given)
    assert found.mean == pytest.approx(float(kl.mean()), rel=1e-5)
    assert found.error == 0
    lost = []
    for one, two in zip(old.split([5, 7]), new.split([5, 7]), strict=True):
        torch.manual_seed(0)  # the same is drawn for each batch, before and after
        target = torch.randn(len(one), 3)
        lost.append((two - target).square().sum(1) - (one - target).square().sum(1))
    found = TrueLoss(model, drawn, batches, {})(given)
    assert found.mean == pytest.approx(float(torch.cat(lost).mean()), rel=1e-4)
    spread = sum(float((each - found.mean).sum()) ** 2 for each in lost)
    assert found.error == pytest.approx((2 * spread) ** 0.5 / 12, rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_batch_again_is_looked_at_once() -> None:
    """Where outputs are compared; losses to other labels count each."""
    model, x = nn.Linear(4, 3), torch.randn(5, 4)
    calls: list[int] = []

    def outputs(model: nn.Module, batch: Tensor) -> tuple[Tensor, None]:
        calls.append(len(batch))
        return model(batch), None

    repeated, once = (TrueLoss(model, outputs, [x] * times + [x + 1], {}) for times in (3, 1))
    calls.clear()
    zero = {"bias": torch.zeros(3).numpy()}
    assert repeated(zero).mean == pytest.approx(once(zero).mean) and calls == [5, 5] * 2
    assert len(TrueLoss(model, lambda m, b: outputs(m, b)[0].abs().sum(1), [x, x], {})._original) == 2


def test_further_names() -> None:
    """A weight that is stored once is replaced in all its places."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    batches, zero = [torch.randn(6, 3)], torch.zeros(3, 3).numpy()

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return torch.stack([p.square().sum() for p in model.parameters()]).sum().repeat(len(x))

    both = TrueLoss(model, loss, batches, {"1.weight": "0.weight"})({"0.weight": zero}).mean
    assert both == pytest.approx(-sum(float(p.detach().square().sum()) for p in model.parameters()))


def test_when_it_is_known() -> None:
    """Two standard errors above zero."""
    assert Increase(1.0, 0.4).known
    assert not Increase(1.0, 0.6).known
    assert not Increase(-1.0, 0.1).known
    assert not Increase(float("nan"), 0.1).known
