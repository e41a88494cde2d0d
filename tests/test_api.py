"""Any torch module under a cap, and checkpoints from elsewhere."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bytecap
from bytecap.core.errors import BudgetError, ConfigError
from bytecap.core.progress import Silent
from bytecap.formats.row_column import RowColumnQuantized
from bytecap.quant.allocation import QuantConfig


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


def test_a_cap_that_cannot_be_met() -> None:
    """The smallest size is named."""
    model, batches = trained()
    with pytest.raises(BudgetError, match="take at least"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes=100)
    with pytest.raises(ConfigError, match="is not a size"):
        bytecap.fit(model, batches[:2], loss=data_losses, cap_bytes="3 parsecs")


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


def test_distilling_any_module() -> None:
    """Batches are read again and again, so an iterator will not do; the rest works as without."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 5))
    batches, config = [torch.randn(64, 6) for _ in range(4)], QuantConfig(distill_steps=3)

    def forward_fn(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return model(x), torch.zeros(len(x), dtype=torch.long)

    assert bytecap.fit(model, batches, loss=forward_fn, cap_bytes=900, config=config).size_bytes <= 900
    with pytest.raises(ConfigError, match="give a list of them"):
        bytecap.fit(model, iter(batches), loss=forward_fn, cap_bytes=900, config=config)


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
    """Its steps follow its gradients, and the user is told."""

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.map, self.other = nn.Linear(6, 8), nn.Parameter(torch.randn(8, 5))

        def forward(self, x: Tensor) -> Tensor:
            return (self.map(x)[:, :, None] * self.other).sum(dim=1)

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


class Tiny(nn.Module):
    """Token to logits; sparse gradients of the embedding where asked for, and a parameter without axes."""

    def __init__(self, *, sparse: bool = False) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(24, 16, sparse=sparse), nn.Linear(16, 24)
        self.temperature = nn.Parameter(torch.tensor(0.7))

    def forward(self, token: Tensor) -> Tensor:
        return self.out(self.embed(token)) * self.temperature


def tiny_batches() -> list[Tensor]:
    return list(torch.randint(0, 24, (8, 4, 17), generator=torch.Generator().manual_seed(0)))


def next_token(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    return model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].reshape(-1)


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


def test_modules_without_values_are_refused() -> None:
    """Lazy modules before their first batch, and modules on the meta device."""
    lazy = nn.Sequential(nn.Embedding(24, 16), nn.LazyLinear(24))
    with pytest.raises(ConfigError, match=r"1\.weight is not initialized; run the model once"):
        bytecap.fit(lazy, tiny_batches(), loss=next_token, cap_bytes=3_000)
    with pytest.raises(ConfigError, match="meta device"):
        bytecap.fit(Tiny().to("meta"), tiny_batches(), loss=next_token, cap_bytes=3_000)


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
