"""Steps follow the factors; one multiplier moves them all."""

import numpy as np
import pytest

from bytecap.core.errors import ConfigError
from bytecap.formats.floats import SCALED_FLOAT16
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.steps import make_steps
from bytecap.quant.allocation import QuantConfig, Shape, allocate, per_tensor_step
from bytecap.quant.factors import Factors

SHAPES = [Shape("m", "matrix", (3, 4)), Shape("s", "scalar", (5,))]
U = np.diag([1.0, 0.3, 20.0, 7.0])
V = np.diag([0.01, 0.5, 0.02])


def test_steps_are_kappa_v_u() -> None:
    """Within a quarter of an octave of κ V_ii U_jj (an eighth for each code), and proportional to κ."""
    for outputs in (V, np.diag(V)):
        plan = allocate(SHAPES, {"m": Factors(U, outputs)}, 0.1, QuantConfig(states=4), "x")
        matrix, scalar = plan.tensors
        assert (matrix.format, scalar.format, matrix.states, plan.step_scale) == (ROW_COLUMN, SCALED_FLOAT16, 4, 0.1)
        steps = make_steps(matrix.base, np.array(matrix.row_codes), np.array(matrix.column_codes))
        wanted = 0.1 * np.outer(np.diag(V), np.diag(U))
        assert np.abs(np.log2(steps / wanted)).max() <= 0.25 + 1e-9
        twice = allocate(SHAPES, {"m": Factors(U, outputs)}, 0.2, QuantConfig(states=4), "x").tensors[0]
        assert twice.base == pytest.approx(2 * matrix.base) and twice.row_codes == matrix.row_codes


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"states": 7}, "quant.states is 7; choose one of 0, 1, 4, 8"),
        ({"damping": 0}, "damping is 0; it must lie between 1e-12 and 100"),
        ({"calibration_tokens": -1}, "it must lie between 0 and"),
        ({"labels": "both"}, "quant.labels is .both.; choose model or data"),
    ],
)
def test_impossible_values_are_refused(setting: dict[str, float], message: str) -> None:
    """Values that cannot be."""
    with pytest.raises(ConfigError, match=message):
        QuantConfig(**setting)  # type: ignore[arg-type]


def test_states_follow_the_size_of_the_model() -> None:
    """As many as the time allows; what was asked for is taken."""
    found = [QuantConfig().states_for(weights) for weights in (10**5, 9_000_000, 36_000_000, 120_000_000, 10**10)]
    assert found == [256, 256, 64, 16, 8]
    assert QuantConfig(states=4).states_for(10**5) == 4


def test_vectors_carry_as_much_loss_as_weights() -> None:
    """Half the Fisher information times the mean square error of rounding, as of a trellis; at most an eighth."""
    step_scale, fisher = 0.03, 7.0
    step = per_tensor_step(fisher, root_mean_square=4.0)
    assert step is not None
    base = allocate([Shape("s", "scalar", (5,))], {}, step_scale, QuantConfig(), "x", {"s": step}).tensors[0].base
    x = np.random.default_rng(0).uniform(-4, 4, 100_000)
    error = np.square(x - base * np.rint(x / base)).mean()
    trellis_error_of_a_step = 0.28  # of a weight whose curvature is 1 / (V U)², at the step κ V U
    assert 0.5 * fisher * error == pytest.approx(0.5 * trellis_error_of_a_step * step_scale**2, rel=0.02)
    coarse = allocate([Shape("s", "scalar", (5,))], {}, 1e3, QuantConfig(), "x", {"s": step}).tensors[0]
    assert coarse.base == pytest.approx(0.5)
    for fisher, size in ((0.0, 1.0), (float("nan"), 1.0), (float("inf"), 1.0), (1.0, 0.0)):
        assert per_tensor_step(fisher, size) is None


@pytest.mark.parametrize(
    ("name", "shape", "last"),
    [
        ("a", (11, 32, 32), True), ("a", (3, 3, 64, 128), True), ("conv/kernel", (3, 3, 3, 32), True),
        ("a", (3, 3, 3, 32), False), ("a", (64, 32, 3, 3), False), ("conv2d_13_kernel:0", (64, 32, 3, 3), False),
        ("a", (64, 48, 9), False), ("a", (8, 8, 3, 39), False), ("a", (3, 64, 128), False), ("kernel", (32, 64), False),
    ],
)  # fmt: skip
def test_kernels_with_outputs_last_are_told_by_their_axes(name: str, shape: tuple[int, ...], last: bool) -> None:
    """Keras and Flax keep places first; their columns are no places."""
    entry = Shape(name, "matrix", shape)
    assert entry.outputs_last == last and not (last and entry.places)
