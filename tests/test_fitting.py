"""Any torch module under a cap, and checkpoints from elsewhere."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bytecap
from bytecap.artifact.pack import ArtifactConfig, Provenance
from bytecap.core.errors import BudgetError, ConfigError
from bytecap.core.progress import Silent
from bytecap.fitting import curvature_factors, damping_rule, fitter_of, refuse_useless
from bytecap.grids.tensor import SteppedTensor
from bytecap.quant.allocation import QuantConfig, Shape
from bytecap.quant.calibration import calibrate
from bytecap.quant.rounding import round_with_feedback
from bytecap.quant.statistics import Calibration, Curvature
from bytecap.subject import Subject, subject_of


class Small(nn.Module):
    """Nothing of ours: embedding, layer norm, a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(40, 24)
        self.norm = nn.LayerNorm(24)
        self.up, self.down = nn.Linear(24, 64), nn.Linear(64, 24)
        self.head = nn.Linear(24, 40, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits."""
        x = self.tokens(tokens)
        return self.head(x + self.down(F.gelu(self.up(self.norm(x)))))


def trained() -> tuple[Small, list[Tensor]]:
    """A model that has learned to count modulo 40 in steps of 7."""
    torch.manual_seed(0)
    model = Small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batches = [(torch.randint(40, (8, 1)) + 7 * torch.arange(17)) % 40 for _ in range(60)]
    for batch in batches:
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, batches


def logits_and_labels(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    return model(batch[:, :-1]), batch[:, 1:]


def logits_and_labels_flat(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    return model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()


def data_losses(model: nn.Module, batch: Tensor) -> Tensor:
    return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten(), reduction="none")


@pytest.mark.parametrize("loss", [logits_and_labels, data_losses])
def test_any_module(loss: object, tmp_path: Path) -> None:
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


def test_a_cap_that_cannot_be_met() -> None:
    """The smallest size is named."""
    model, batches = trained()
    with pytest.raises(BudgetError, match="take at least"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes=100)
    with pytest.raises(ConfigError, match="is not a size"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes="3 parsecs")


def test_errors_do_not_outgrow_the_weights() -> None:
    """A weight that hardly matters gets more damping, so that feedback cannot leave errors larger than it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 24)) + 1e-4 * rng.normal(size=(400, 24))
    g = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 20)) * 1e-4
    curvature = Curvature(
        inputs_II=np.float32(x.T @ x / 400), outputs=np.float32(g.T @ g / 400), gradient_square=1.0
    )  # fmt: skip
    weight = rng.normal(size=(20, 24)).astype(np.float32)
    subject = Subject({"w": weight}, [Shape("w", "matrix", weight.shape)], "x", None)
    calibration = Calibration(made_from="x", tokens=1, loss=0.0, unigram=1.0, tensors={"w": curvature})
    config, kappa = QuantConfig(), 1e-4
    plain = curvature_factors(subject, calibration, config)["w"]
    damped = damping_rule(subject, calibration, config)("w", kappa)
    assert damped is not None and damping_rule(subject, calibration, config)("w", 1e-9) is None
    errors = []
    for factors in (plain, damped):
        steps = (kappa * np.outer(factors.row_factors_O, factors.column_factors_I)).astype(np.float32)
        found = round_with_feedback(weight, steps, factors.inputs_II, factors.outputs, states=8)
        errors.append(np.sqrt(np.square(found.weights_OI - weight).mean()))
    assert errors[0] > 1.5 * errors[1] and errors[1] < 1.05 * weight.std(), errors


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
    assert isinstance(fitted.quantized.tensors["2.weight"], SteppedTensor)


def test_distilling_any_module() -> None:
    """Batches are read again and again, so an iterator will not do; the rest works as without."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 5))
    batches, config = [torch.randn(64, 6) for _ in range(4)], QuantConfig(distill_steps=3)

    def answer(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return model(x), torch.zeros(len(x), dtype=torch.long)

    assert bytecap.fit(model, batches, loss=answer, cap_bytes=900, config=config).size_bytes <= 900
    with pytest.raises(ConfigError, match="give a list of them"):
        bytecap.fit(model, iter(batches), loss=answer, cap_bytes=900, config=config)


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
def test_a_loss_of_another_kind(given: object, found: str) -> None:
    """Is a sentence that says what came and what should."""
    label = torch.zeros(64, dtype=torch.long)
    with pytest.raises(ConfigError, match=rf"{found}.*; it must return \(logits \(N, V\), whole labels"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=lambda m, x: given(m(x), label), cap_bytes=2000)


@pytest.mark.parametrize("cap", [None, True, 2000.0])
def test_caps_that_are_none(cap: object) -> None:
    """A cap is a whole number or a size; what is fitted is a module."""
    with pytest.raises(ConfigError, match="a whole number of bytes"):
        bytecap.fit(nn.Linear(3, 2), [torch.randn(64, 3)], loss=data_losses, cap_bytes=cap)
    with pytest.raises(ConfigError, match="no torch module"):
        bytecap.fit({}, [torch.randn(64, 3)], loss=data_losses, cap_bytes=2000)


def test_gradients_are_given_back() -> None:
    """A fit in the middle of training leaves what was there."""
    model, batches = trained()
    gradient = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    bytecap.fit(model, batches[:4], loss=logits_and_labels, cap_bytes=3500)
    assert gradient and all(torch.equal(p.grad, gradient[n]) for n, p in model.named_parameters() if n in gradient)


def test_a_small_matrix_does_not_pay_for_large_convolutions() -> None:
    """Where most weights have one step for a tensor, they too move to land; the matrix loses no more than they do."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 4, 5, bias=False))
    batches = [torch.randn(32, 3, 2, 2) for _ in range(8)]
    labels = torch.zeros(32, dtype=torch.long)
    for cap in (1_500, 2_000):
        fitted = bytecap.fit(model, batches, loss=lambda m, x: (m(x), labels), cap_bytes=cap)
        assert 0 <= cap - fitted.size_bytes <= 64
        weights = fitted.quantized.state_dict()
        change = (model[3].weight - weights["3.weight"]).square().mean() / model[3].weight.square().mean()
        assert change < 0.25


def test_what_a_loss_may_give() -> None:
    """Positions with a negative label do not count; labels without a logit and models without weights are refused."""
    model, batches = trained()

    def ignoring(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        logits, labels = logits_and_labels(model, batch)
        return torch.cat([logits, 100 * torch.ones_like(logits)]), torch.cat([labels, -100 * torch.ones_like(labels)])

    plain, ignored = (
        bytecap.fit(model, batches[:4], loss=loss, cap_bytes=3500).data for loss in (logits_and_labels, ignoring)
    )
    assert len(plain) == len(ignored) and model.training

    def too_large(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        return model(batch), batch + 40

    with pytest.raises(ConfigError, match="one label for each position, below the number of logits"):
        bytecap.fit(model, batches[:1], loss=too_large, cap_bytes=3500)
    with pytest.raises(ConfigError, match="no torch module with parameters"):
        bytecap.fit(nn.Tanh(), batches[:1], loss=data_losses, cap_bytes=3500)


def test_a_weight_used_in_another_way_is_named() -> None:
    """It gets one step for the tensor, and the user is told."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.map, self.other = nn.Linear(6, 8), nn.Parameter(torch.randn(8, 5))

        def forward(self, x: Tensor) -> Tensor:
            return self.map(x) @ self.other

    class Notes(Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    notes, labels = Notes(), torch.zeros(32, dtype=torch.long)
    bytecap.fit(
        Other(), [torch.randn(32, 6)], loss=lambda m, x: (m(x), labels), cap_bytes=1500, progress=notes
    )  # fmt: skip
    assert any(note.startswith("1 tensors are used in other ways") and note.endswith("other") for note in notes.notes)


class Norm(nn.Module):
    """With running statistics, which are no parameters, and a part that is not trained any more."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.norm, self.down = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 5)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.norm.running_mean += 3.0
        self.norm.running_var *= 9.0
        self.norm.num_batches_tracked += 70_000

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
    assert torch.equal(fresh.norm.running_var, model.norm.running_var) and fresh.norm.num_batches_tracked == 70_000
    assert weights["scale"].shape == () and float(weights["scale"]) == pytest.approx(1.5, rel=0.1)
    assert (fresh(batches[0]) - model.eval()(batches[0])).abs().mean() < 0.1


def test_a_weight_far_larger_than_the_others() -> None:
    """Where no size helps, the search for one ends."""
    model, batches = trained()
    with torch.no_grad():
        model.up.weight[0, 0] = 3e4
    subject = subject_of(model)
    calibration = calibrate(
        model, batches[:4], logits_and_labels_flat, made_from=subject.digest, progress=Silent(), total_tokens=1
    )  # fmt: skip
    barely = dataclasses.replace(calibration, unigram=calibration.loss + 1e-9)
    about = Provenance(
        recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False, context=1
    )  # fmt: skip
    fitter = fitter_of(subject, calibration, QuantConfig(), ArtifactConfig(cap_bytes=3500), b"", about)
    with pytest.raises(BudgetError, match=r"and at [0-9,]+ still"):
        refuse_useless(fitter, barely, 3500, Silent())
