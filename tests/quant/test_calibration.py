"""Curvature as measured by hooks equals curvature worked out by hand, whatever the module is called."""

import weakref
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.errors import ConfigError, DataError, NumericsError
from bytecap.core.progress import Silent
from bytecap.quant.calibration import CalibrationOptions, calibrate
from bytecap.quant.statistics import Calibration


class Tied(nn.Module):
    """Embedding, a looped map, a convolution of width 1, the embedding again as head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(11, 6) * 0.5)
        self.loop = nn.Linear(6, 6, bias=True)
        self.mix = nn.Conv1d(6, 6, 1, bias=False)
        self.unused = nn.Linear(2, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, 11)."""
        x = F.embedding(tokens, self.table)
        x = torch.tanh(self.loop(torch.tanh(self.loop(x))))
        x = self.mix(x.transpose(1, 2)).transpose(1, 2)
        return F.linear(x, self.table)


def losses(model: nn.Module, batch: Tensor) -> Tensor:
    """Loss of the data's labels, so that there is no chance in it."""
    logits = model(batch[:, :-1]).flatten(0, 1)
    return F.cross_entropy(logits, batch[:, 1:].flatten(), reduction="none")


def answers(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and labels: labels are drawn, the last map sums over all of them."""
    return model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()


BATCHES = [torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(i)) for i in range(4)]


def measured(**settings: Any) -> Calibration:
    return calibrate(
        Tied(), BATCHES, losses, source_digest="x", progress=Silent(), options=CalibrationOptions(**settings)
    )  # fmt: skip


def test_a_looped_map_sums_over_its_uses() -> None:
    """A is the mean over both uses, G the sum of both, per position."""
    model, inputs, gradients = Tied(), [], []
    for batch in BATCHES:
        x = F.embedding(batch[:, :-1], model.table)
        first = model.loop(x)
        middle = torch.tanh(first)
        second = model.loop(middle)
        h = model.mix(torch.tanh(second).transpose(1, 2)).transpose(1, 2)
        loss = F.cross_entropy(F.linear(h, model.table).flatten(0, 1), batch[:, 1:].flatten(), reduction="sum")
        gradients += [g.flatten(0, 1) for g in torch.autograd.grad(loss, [first, second])]
        inputs += [x.flatten(0, 1), middle.flatten(0, 1)]
    x, g = (torch.cat(parts).detach().double().numpy() for parts in (inputs, gradients))  # type: ignore[assignment]
    found = measured().tensors["loop.weight"]
    assert np.allclose(found.inputs_II, x.T @ x / len(x), rtol=1e-4, atol=1e-6)
    assert np.allclose(found.outputs, g.T @ g / (len(g) / 2), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("cap", [None, 3.0])
def test_the_head_sums_over_all_labels(cap: float | None) -> None:
    """G of the last map is E[J (diag p - p pᵀ) J], label by label, through an elementwise softcap J or none."""

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.head = nn.Linear(5, 7, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            z = self.head(x)
            return z if cap is None else cap * torch.tanh(z / cap)

    model, batches = Head(), [torch.randn(20, 5), torch.randn(20, 5)]
    found = calibrate(
        model, batches, lambda m, x: (m(x), torch.zeros(len(x), dtype=torch.int64)), source_digest="x",
        progress=Silent(), options=CalibrationOptions(generator=torch.Generator()),
    )  # fmt: skip
    expected = torch.zeros(7, 7)
    for x in torch.cat(batches):
        z = model.head(x).detach().requires_grad_()
        logits = z if cap is None else cap * torch.tanh(z / cap)
        p = logits.detach().softmax(-1)
        for label in range(7):
            (g,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor(label)), z, retain_graph=True)
            expected += p[label] * torch.outer(g, g) / 40
    assert np.allclose(found.tensors["head.weight"].outputs, expected.numpy(), rtol=1e-4, atol=1e-7)
    assert found.unigram == 0.0


def test_logits_that_are_no_elementwise_function_are_sampled() -> None:
    """Behind a log-softmax the sum over labels would be wrong; drawn labels are used, and agree in the mean."""
    torch.manual_seed(2)
    plain, batches = nn.Linear(5, 4, bias=False), [torch.randn(4000, 5)]
    label = torch.zeros(4000, dtype=torch.int64)
    kinds = {
        "exact": lambda m, x: (m(x), label),
        "sampled": lambda m, x: (m(x).log_softmax(-1), label),
    }
    found = {
        name: calibrate(
            plain, batches, forward_fn, source_digest="x", progress=Silent(),
            options=CalibrationOptions(generator=torch.Generator()),
        ).tensors["weight"].outputs
        for name, forward_fn in kinds.items()
    }  # fmt: skip
    assert not np.allclose(found["exact"], found["sampled"], rtol=1e-4)
    assert np.allclose(found["exact"], found["sampled"], atol=0.02)


def test_a_token_that_was_never_read_is_not_free() -> None:
    """Its row gets the gradient of others at the frequency that the model expects."""
    found = calibrate(
        Tied(), [b.clamp_max(8) for b in BATCHES], answers, source_digest="x", progress=Silent(),
        options=CalibrationOptions(generator=torch.Generator().manual_seed(0)),
    )  # fmt: skip
    diagonal = found.tensors["table"].outputs_diagonal_O
    assert (diagonal[9:] > 0.1 * diagonal[:9].mean()).all() and 0 < found.unigram < np.log(9) + 1e-6


def test_convolution_and_unused() -> None:
    """A convolution of width 1 is a linear map; what was never used is not there; plain vectors neither."""
    found = measured()
    assert set(found.tensors) == {"table", "loop.weight", "mix.weight"}
    assert found.tensors["mix.weight"].inputs_II.shape == (6, 6)
    assert found.tokens == 96 and found.loss > 0 and found.unigram == np.inf


def test_a_tied_weight_as_a_head_alone() -> None:
    """A of what goes into the last map, as the published runs measured it; untied weights have none."""
    model, hidden = Tied(), []
    with torch.no_grad():
        for batch in BATCHES:
            x = F.embedding(batch[:, :-1], model.table)
            x = torch.tanh(model.loop(torch.tanh(model.loop(x))))
            hidden.append(model.mix(x.transpose(1, 2)).transpose(1, 2).flatten(0, 1))
    h, found = torch.cat(hidden).double().numpy(), measured().tensors
    assert found["table"].linear_II is not None and found["loop.weight"].linear_II is None
    assert np.allclose(found["table"].linear_II, h.T @ h / len(h), rtol=1e-4, atol=1e-6)


def test_vectors_have_the_fisher_information_of_one_position() -> None:
    """Of a bias: near the mean over elements of E[g²], summed over all labels position by position; others are 0."""
    model, total = Tied(), 0.0
    for batch in BATCHES:
        logits_NV = answers(model, batch)[0]
        for logits_V in logits_NV:
            p_V = logits_V.softmax(0).detach()
            for label, p in enumerate(p_V):
                loss = -logits_V.log_softmax(0)[label]
                g = torch.autograd.grad(loss, model.loop.bias, retain_graph=True)[0]
                total += float(p * g.square().mean())
    drawn = calibrate(
        Tied(), BATCHES * 50, answers, source_digest="x", progress=Silent(),
        options=CalibrationOptions(generator=torch.Generator().manual_seed(0)),
    )  # fmt: skip
    assert set(drawn.vectors) == {"loop.bias", "unused.weight", "unused.bias"}
    assert drawn.vectors["loop.bias"] == pytest.approx(total / 96, rel=0.15)
    assert drawn.vectors["unused.bias"] == 0.0


def test_diagonal_where_there_are_many_outputs() -> None:
    """Beyond the limit only G_ii is kept, and it is the same."""
    full, short = measured(), measured(max_outputs=5)
    assert short.tensors["loop.weight"].outputs.shape == (6,)
    assert np.allclose(short.tensors["loop.weight"].outputs, np.diag(full.tensors["loop.weight"].outputs), rtol=1e-4)


def test_memory_of_a_batch_is_freed() -> None:
    """Watching leaves nothing of a forward pass behind."""
    alive: list[weakref.ref[Tensor]] = []

    def forward_fn(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        logits, labels = answers(model, batch)
        alive.append(weakref.ref(logits))
        return logits, labels

    calibrate(
        Tied(),
        BATCHES,
        forward_fn,
        source_digest="x",
        progress=Silent(),
        options=CalibrationOptions(generator=torch.Generator()),
    )
    assert len(alive) == len(BATCHES) and not any(ref() is not None for ref in alive)


def test_broken_input() -> None:
    """NaN weights are named; no batches is an error."""
    model = Tied()
    with torch.no_grad():
        model.loop.weight[0, 0] = float("nan")
    with pytest.raises(NumericsError, match=r"tensor loop.weight holds NaN"):
        calibrate(model, BATCHES, losses, source_digest="x", progress=Silent())
    with pytest.raises(DataError, match="no calibration text"):
        calibrate(Tied(), [], losses, source_digest="x", progress=Silent())


def test_batches_without_positions_and_experts_without_tokens() -> None:
    """Change nothing, and are no division by zero."""

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.busy, self.idle, self.read = nn.Linear(4, 3), nn.Linear(4, 3), nn.Embedding(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            nothing = torch.zeros(0, dtype=torch.long)
            return torch.cat([self.busy(x), self.idle(self.read(nothing))])

    batches = [torch.randn(6, 4)]

    def forward_fn(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        return model(x), torch.zeros(len(x), dtype=torch.long)

    found = [
        calibrate(
            Experts(), more, forward_fn, source_digest="x", progress=Silent(),
            options=CalibrationOptions(generator=torch.Generator().manual_seed(0)),
        )
        for more in (batches, [*batches, torch.zeros(0, 4)])
    ]  # fmt: skip
    assert set(found[0].tensors) == set(found[1].tensors) == {"busy.weight"}
    assert found[0].vectors == found[1].vectors and np.isfinite(list(found[0].vectors.values())).all()


def test_two_heads_and_single_vectors() -> None:
    """The last map need not be the logits', and inputs need not have a batch axis."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits = self.first(x)
            self.second(x)
            return logits[None]

    found = calibrate(
        Heads(), [torch.randn(4)], lambda m, x: (m(x), torch.tensor([1])), source_digest="x", progress=Silent(),
    )  # fmt: skip
    assert found.tensors["first.weight"].inputs_II.shape == (4, 4)
    with pytest.raises(ConfigError, match="the loss has no gradient"):
        calibrate(
            Heads(), [torch.randn(4)], lambda m, x: (m(x).detach(), torch.tensor([1])), source_digest="x",
            progress=Silent(),
        )  # fmt: skip
    broken = Heads()
    with pytest.raises(NumericsError, match="the model gives NaN on the calibration text"):
        calibrate(
            broken, [torch.full((4,), torch.nan)], lambda m, x: (m(x), torch.tensor([1])), source_digest="x",
            progress=Silent(),
        )  # fmt: skip


class Hashed(Tied):
    """A second table of as many rows, of which a hash picks one."""

    def __init__(self) -> None:
        super().__init__()
        self.hashes = nn.Parameter(torch.randn(11, 6))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, 11)."""
        return F.linear(F.embedding(tokens, self.table) + F.embedding(tokens % 2, self.hashes), self.table)


def test_rows_of_hashes_are_not_taken_for_tokens() -> None:
    """What the model thinks of tokens says nothing of a table that happens to have as many rows."""
    found = calibrate(Hashed(), BATCHES, answers, source_digest="x", progress=Silent())
    unread_V = found.tensors["hashes"].outputs[2:]
    assert unread_V.min() > 0 and np.ptp(unread_V) < 1e-6 * unread_V.max()
    assert np.ptp(np.diag(found.tensors["table"].outputs)) > 0
