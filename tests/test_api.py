"""Any torch module under a cap, and checkpoints from elsewhere."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bytecap
from bytecap.core.errors import ConfigError
from bytecap.formats.row_column import RowColumnQuantized
from bytecap.quant.allocation import QuantConfig
from tests.modules import Small, Tiny, data_losses, logits_and_labels, next_token, tiny_batches, trained
from tests.progress import Notes


@pytest.mark.parametrize("loss", [logits_and_labels, data_losses])
def test_any_module(loss: Any, tmp_path: Path) -> None:
    """Fitted, saved, loaded into the same class: under the cap, and it still counts."""
    model, batches = trained()
    artifact = bytecap.fit(model, batches[:10], loss=loss, cap_bytes="3500B")
    assert len(artifact.data) <= 3500 and artifact.spec is None
    path = tmp_path / "small.bcap"
    artifact.save(path)
    weights = bytecap.load_state_dict(path)
    fresh = Small()
    fresh.load_state_dict({**weights, "head.weight": weights["tokens.weight"]})
    before, after = (float(data_losses(m, batches[-1]).mean().detach()) for m in (model, fresh))
    assert after < before + 0.2
    assert artifact.quantized.tensors["tokens.weight"].role == "embedding"


def test_the_same_file_with_little_memory() -> None:
    """To the byte, with curvature that is large enough to go to files."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 160), nn.Tanh(), nn.Linear(160, 20))
    batches = [torch.randint(20, (4, 33)) for _ in range(4)]
    files = [
        bytecap.fit(
            model, batches, loss=lambda m, x: (m(x[:, :-1]), x[:, 1:]), cap_bytes=3000, low_memory=low_memory,
            config=bytecap.QuantConfig(calibration_tokens=512, states=8),
        ).data
        for low_memory in (False, True)
    ]  # fmt: skip
    assert files[0] == files[1]


def test_convolutions_vectors_and_far_too_much_room() -> None:
    """Every weight has its shape; a cap far beyond what the weights need leaves them nearly as they are."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.Unflatten(1, (16, 1)), nn.Conv1d(16, 8, 1), nn.Flatten())
    batches = [torch.randn(64, 12) for _ in range(4)]
    for cap, error in ((1000, 0.05), (2000, 1e-3), (20_000, 1e-3)):
        fitted = bytecap.fit(model, batches, loss=lambda m, x: m(x).square().sum(1), cap_bytes=cap)
        assert fitted.size_bytes <= cap
        for name, weight in fitted.quantized.state_dict().items():
            original = model.state_dict()[name]
            assert weight.shape == original.shape
            assert (weight - original).square().mean().sqrt() < error * original.square().mean().sqrt(), (cap, name)
    assert isinstance(fitted.quantized.tensors["2.weight"], RowColumnQuantized)


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("config", [QuantConfig(distill_steps=3), QuantConfig(compensation_tokens=99)])
def test_distilling_and_compensating_any_module(config: QuantConfig, real: bool) -> None:
    """Batches are read again, so an iterator will not do; the rest works as without."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 5))
    batches = [torch.randn(64, 6) for _ in range(4)]

    def forward_fn(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        return model(x), None if real else torch.zeros(len(x), dtype=torch.long)

    assert bytecap.fit(model, batches, loss=forward_fn, cap_bytes=900, config=config).size_bytes <= 900
    with pytest.raises(ConfigError, match="give a list"):
        bytecap.fit(model, iter(batches), loss=forward_fn, cap_bytes=900, config=config)


def test_a_model_of_real_numbers() -> None:
    """Outputs without labels give a smaller error than no calibration at all, over any leading axes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3))
    mix = torch.randn(16, 16) * torch.logspace(0, -2, 16)
    batches, unseen = [torch.randn(4, 50, 16) @ mix for _ in range(10)], torch.randn(1000, 16) @ mix
    errors = []
    for tokens in (2048, 0):
        config = QuantConfig(calibration_tokens=tokens)
        fitted = bytecap.fit(model, batches, loss=lambda m, x: (m(x), None), cap_bytes=700, config=config)
        with torch.no_grad():
            found = torch.func.functional_call(model, fitted.quantized.state_dict(), (unseen,))
            errors.append(float((found - model(unseen)).square().mean()))
    assert errors[0] < errors[1] / 2


def test_gradients_are_given_back() -> None:
    """A fit in the middle of training leaves what was there."""
    model, batches = trained()
    gradient = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    bytecap.fit(model, batches[:4], loss=logits_and_labels, cap_bytes=3500)
    after = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert gradient and all(torch.equal(after[n], value) for n, value in gradient.items())


def test_a_small_matrix_does_not_pay_for_large_convolutions() -> None:
    """Where most weights have one step for a tensor, they too are moved; the matrix loses no more than they do."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 4, 5, bias=False))
    batches = [torch.randn(32, 3, 2, 2) for _ in range(8)]
    labels = torch.zeros(32, dtype=torch.long)
    for cap in (1_500, 2_000):
        fitted = bytecap.fit(model, batches, loss=lambda m, x: (m(x), labels), cap_bytes=cap)
        assert 0 <= cap - fitted.size_bytes <= 64
        weights = fitted.quantized.state_dict()
        original = model.get_parameter("3.weight")
        change = (original - weights["3.weight"]).square().mean() / original.square().mean()
        assert change < 0.25


def test_what_a_loss_may_give() -> None:
    """Positions with a negative label do not count."""
    model, batches = trained()

    def ignoring(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        logits, labels = logits_and_labels(model, batch)
        return torch.cat([logits, 100 * torch.ones_like(logits)]), torch.cat([labels, -100 * torch.ones_like(labels)])

    plain, ignored = (
        bytecap.fit(model, batches[:4], loss=loss, cap_bytes=3500).data for loss in (logits_and_labels, ignoring)
    )
    assert len(plain) == len(ignored) and model.training


def test_a_weight_used_in_another_way_is_named() -> None:
    """Its steps follow its gradients, and the user is told."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.map, self.other = nn.Linear(6, 8), nn.Parameter(torch.randn(8, 5))

        def forward(self, x: Tensor) -> Tensor:
            return (self.map(x)[:, :, None] * self.other).sum(dim=1)

    notes, labels = Notes(), torch.zeros(32, dtype=torch.long)
    bytecap.fit(
        Other(), [torch.randn(32, 6)], loss=lambda m, x: (m(x), labels), cap_bytes=1500, progress=notes
    )  # fmt: skip
    assert any(note.startswith("1 tensor used in other ways") and note.endswith("other") for note in notes.notes)


class Norm(nn.Module):
    """With running statistics, which are no parameters, and a part that is not trained any more."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.norm, self.down = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 5)
        self.scale = nn.Parameter(torch.tensor(1.5))
        for name, value in (("running_mean", 3.0), ("running_var", 9.0), ("num_batches_tracked", 70_000)):
            self.norm.get_buffer(name).fill_(value)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.scale * self.down(self.norm(self.up(x)))


@pytest.mark.parametrize("steps", [0, 2])
def test_buffers_are_kept_and_modes_given_back(steps: int) -> None:
    """Loading strictly gives the same model again; a part in evaluation stays there."""
    model = Norm()
    model.norm.eval()
    batches, labels = [torch.randn(64, 6) for _ in range(4)], torch.randint(5, (64,))
    config = QuantConfig(distill_steps=steps)
    fitted = bytecap.fit(model, batches, loss=lambda m, x: (m(x), labels), cap_bytes=1500, config=config)
    assert model.training and model.down.training and not model.norm.training
    weights = fitted.quantized.state_dict()
    fresh = Norm().eval()
    fresh.load_state_dict(weights)
    one, other = (dict(each.norm.named_buffers()) for each in (fresh, model))
    assert torch.equal(one["running_var"], other["running_var"]) and one["num_batches_tracked"] == 70_000
    assert weights["scale"].shape == () and float(weights["scale"]) == pytest.approx(1.5, rel=0.1)
    assert (fresh(batches[0]) - model.eval()(batches[0])).abs().mean() < 0.1


def test_batches_without_end() -> None:
    """Are read as far as `calibration_tokens` says; with 0 none is, and one step serves all."""
    model, batches = trained()
    read = []

    def loss(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():  # not what is looked at again afterwards
            read.append(batch)
        return logits_and_labels(model, batch)

    for tokens, count in ((256, 2), (300, 3), (0, 0)):
        read.clear()
        config = QuantConfig(calibration_tokens=tokens)
        fitted = bytecap.fit(model, itertools.cycle(batches), loss=loss, cap_bytes=3500, config=config)
        assert len(read) == count and fitted.size_bytes <= 3500


def test_wrapped_modules_are_fitted_by_their_own_names() -> None:
    """As those of whoever loads the file."""
    model, batches = trained()
    cap: Any = np.int64(3500)
    wrapped: Any
    for wrapped in (torch.compile(model, backend="eager"), nn.DataParallel(model)):
        fitted = bytecap.fit(wrapped, batches[:4], loss=logits_and_labels, cap_bytes=cap)
        assert fitted.quantized.tensors.keys() <= model.state_dict().keys()


@pytest.mark.slow
def test_random_states_and_the_default_type_are_left_alone() -> None:
    """What torch draws next is what it would have drawn; a default of float64 changes neither file nor default."""
    torch.manual_seed(0)
    model = Tiny()
    state = torch.get_rng_state()
    first = bytecap.fit(model, tiny_batches(), loss=next_token, cap_bytes=3_000)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    try:
        second = bytecap.fit(model, tiny_batches(), loss=next_token, cap_bytes=3_000)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert first.data == second.data


@pytest.mark.slow
def test_sparse_gradients_and_small_label_types() -> None:
    """Sparse embeddings are measured like dense ones, and labels may be of any whole type."""
    torch.manual_seed(0)
    dense, sparse = Tiny(), Tiny(sparse=True)
    sparse.load_state_dict(dense.state_dict())

    def bytes_of_labels(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        logits, labels = next_token(model, batch)
        return logits, labels.to(torch.uint8)

    wanted = bytecap.fit(dense, tiny_batches(), loss=next_token, cap_bytes=3_000).data
    assert bytecap.fit(sparse, tiny_batches(), loss=next_token, cap_bytes=3_000).data == wanted
    assert bytecap.fit(dense, tiny_batches(), loss=bytes_of_labels, cap_bytes=3_000).data == wanted


def test_a_parameter_without_axes(tmp_path: Path) -> None:
    """A learned temperature is an ordinary parameter."""
    torch.manual_seed(0)
    path = tmp_path / "m.bcap"
    bytecap.fit(Tiny(), tiny_batches(), loss=next_token, cap_bytes=3_000).save(path)
    value = bytecap.load_state_dict(path)["temperature"]
    assert value.shape == () and float(value) == pytest.approx(0.7, abs=0.05)


def test_an_expert_that_no_batch_reaches_is_kept() -> None:
    """Weights whose gradients are zero on all batches have steps relative to their own scale."""

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(24, 32), nn.Linear(32, 24)
            self.experts = nn.ModuleList(nn.Linear(32, 32) for _ in range(2))

        def forward(self, token: Tensor) -> Tensor:
            x, upper = self.embed(token), (token >= 12).float()[..., None]
            return self.out(x + (1 - upper) * self.experts[0](x) + upper * self.experts[1](x))

    torch.manual_seed(0)
    model, lower = Experts(), [batch % 12 for batch in tiny_batches()]
    for cap in (6_000, 20_000):
        found = bytecap.fit(model, lower, loss=next_token, cap_bytes=cap).quantized.state_dict()
        for name, weight in model.state_dict().items():
            assert float((found[name] - weight).norm() / weight.norm()) < 0.5, (cap, name)
