"""Plain integers behind a general compressor, where repetitions make them the cheaper form; never where they do not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bytecap.artifact.layout import parse
from bytecap.core.budget import FileBudget
from bytecap.core.progress import Silent
from bytecap.fitting.job import Container, FitJob, build_job
from bytecap.fitting.per_channel_choice import cost, per_channel_plan
from bytecap.fitting.problem import FitProblem, build_problem
from bytecap.fitting.source import open_checkpoint
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.plan import TensorPlan
from bytecap.formats.table import FORMATS
from bytecap.formats.trellis import SCALAR
from bytecap.quant.allocation import STEP_MSE, QuantConfig
from bytecap.quant.factors import Factors
from tests.artifact.example import ABOUT

CONFIG = QuantConfig(states=8)
PLAN = TensorPlan(name="a", role="matrix", shape=(12, 50), format="row_column")


def weights() -> dict[str, torch.Tensor]:
    """Random numbers; rows each there six times; a kernel of sines, mirrored as Fourier's are."""
    torch.manual_seed(0)
    places = torch.arange(128.0)
    waves = torch.stack([torch.cos(6.2831853 * k * (places + 0.5) / 128) for k in range(40)])
    return {"random": torch.randn(64, 80), "rows": torch.randn(20, 96).repeat(6, 1), "waves": waves[:, None, :]}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> FitJob:
    """A fit of the bare weights."""
    path = tmp_path_factory.mktemp("bare") / "w.safetensors"
    save_file(weights(), path)
    return build_job(open_checkpoint(path), None, CONFIG, Container(ABOUT))


@pytest.fixture(scope="module")
def problem(job: FitJob) -> FitProblem:
    return build_problem(job.source, None, CONFIG)


def test_what_is_chosen(job: FitJob) -> None:
    """What repeats, and it pays: less error in the same bytes than without; a kernel makes the file version 5."""
    fitted = job.fit(FileBudget(7000), Silent())
    tensors = fitted.artifact.quantized.tensors
    assert [name for name, one in tensors.items() if isinstance(one, PerChannelQuantized)] == ["rows", "waves"]
    assert parse(fitted.result.data).version == 5 and 6800 < len(fitted.result.data) <= 7000
    without = build_job(job.source, None, CONFIG, Container(ABOUT))
    search = without.fitter
    plain = dataclasses.replace(search.problem)  # type: ignore[attr-defined]
    object.__setattr__(plain, "with_per_channel", lambda _: plain)
    search.problem = plain  # type: ignore[attr-defined]
    others = without.fit(FileBudget(7000), Silent()).artifact.quantized.tensors
    for name, weight in job.source.weights.items():
        ours, theirs = (np.linalg.norm(one[name].weights() - weight) for one in (tensors, others))
        assert ours < theirs, name


def test_random_integers_repeat_nothing(problem: FitProblem) -> None:
    """A tensor of random numbers keeps trellis and contexts at every size."""
    for step_scale in (0.05, 0.3, 1.0, 2.0):
        assert "random" not in problem.with_per_channel(step_scale).per_channel


def test_steps_of_equal_loss() -> None:
    """The error of rounding, number by number, is that of a trellis at the same multiplier, rows and columns apart."""
    rng = np.random.default_rng(0)
    curve = Factors(rng.uniform(0.5, 2, 50), rng.uniform(0.5, 2, 12))
    weight = rng.normal(size=(12, 50)).astype(np.float32) * 20
    shape = dataclasses.replace(PLAN, shape=(6, 2, 50), row_axes=2)
    stored = FORMATS["per_channel"].nearest(per_channel_plan(shape, curve, 0.7), weight)
    error = weight - stored.weights().reshape(12, 50)
    slow = sum(
        0.5 * float(error[i, j]) ** 2 / (curve.outputs[i] * curve.inputs[j]) ** 2
        for i in range(12) for j in range(50)
    )  # fmt: skip
    assert curve.loss(error) == pytest.approx(slow, rel=1e-5)
    assert slow == pytest.approx(0.5 * STEP_MSE * 0.7**2 * weight.size, rel=0.15)


def test_the_price_of_a_loss(problem: FitProblem) -> None:
    """A tenth of an octave more or less changes the cost of fine steps by next to nothing: there the slope is right."""
    plan = next(p for p in problem.plan(0.02).tensors if p.name == "random")
    plan = dataclasses.replace(plan, states=SCALAR, base=plan.base * 1.833)
    costs = [cost(problem.estimate([plan.finer(octaves)])["random"], 0.02) for octaves in (-0.4, 0, 0.4)]
    assert costs[1] < min(costs[0], costs[2]) and max(costs) < 1.02 * costs[1]


def test_a_loss_with_both_sides() -> None:
    """Triangular factors on both sides, and parts of rows, against the curvature written out."""
    rng = np.random.default_rng(1)
    u, v = np.triu(rng.normal(size=(5, 5))) + 3 * np.eye(5), np.triu(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    a, g = np.linalg.inv(u.T @ u), np.linalg.inv(v.T @ v)
    error = rng.normal(size=(8, 5))
    wanted = 0.5 * (np.trace(g @ error[:4] @ a @ error[:4].T) + np.trace(g @ error[4:] @ a @ error[4:].T))
    assert Factors(u, np.ones(8), (Factors(u, v), Factors(u, v))).loss(error) == pytest.approx(wanted)


def test_scales_at_the_ends_of_16_bits(tmp_path: Path) -> None:
    """Rows whose scale float16 does not hold are no candidates."""
    path = tmp_path / "w.safetensors"
    save_file({"rows": weights()["rows"] * 1e-7}, path)
    small = build_problem(open_checkpoint(path), None, CONFIG)
    assert not small.with_per_channel(1.0).per_channel
