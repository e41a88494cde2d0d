"""The dial sets each row's step in units of its standard deviation."""

import numpy as np
import pytest

from bytecap.core.errors import ConfigError
from bytecap.grids.grid import steps_of
from bytecap.grids.plan import FLOAT16, ROW_STEPS
from bytecap.quant.allocation import QuantConfig, allocate
from bytecap.quant.statistics import Calibration, TensorStatistics

CALIBRATION = Calibration(
    made_from="x",
    tensors=(
        TensorStatistics(name="m", role="matrix", shape=(3, 9), row_std=np.array([1.0, 0.02, 0.0])),
        TensorStatistics(name="e", role="embedding", shape=(2, 9), row_std=np.array([1.0, 0.5])),
        TensorStatistics(name="s", role="scalar", shape=(2, 9), row_std=np.array([1.0, 0.5])),
    ),
)


def test_steps_follow_the_dial() -> None:
    """Within half a step code of dial times deviation; the embedding by its own factor; scalars stay at 16 bits."""
    plan = allocate(CALIBRATION, 0.3, QuantConfig(embedding_step=0.25))
    matrix, embedding, scalar = plan.tensors
    assert (matrix.grid, embedding.grid, scalar.grid) == (ROW_STEPS, ROW_STEPS, FLOAT16)
    steps = steps_of(np.array(matrix.row_codes, np.uint8))
    assert np.allclose(steps[:2], [0.3, 0.006], rtol=2 ** (1 / 16) - 1) and matrix.row_codes[2] == 0
    steps = steps_of(np.array(embedding.row_codes, np.uint8))
    assert np.allclose(steps, [0.075, 0.0375], rtol=2 ** (1 / 16) - 1)


def test_refusal() -> None:
    """A step of nothing is refused."""
    with pytest.raises(ConfigError, match=r"quant.embedding_step is 0"):
        QuantConfig(embedding_step=0)
