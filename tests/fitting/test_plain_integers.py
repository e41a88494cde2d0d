"""Plain rounding as a candidate: at the bytes of plain integers it loses no more than they do."""

import numpy as np
import pytest

from bytecap.core.progress import Silent
from bytecap.fitting.job import Container
from bytecap.fitting.plain_integers import build_plain_problem
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import WeightSource
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.quant.allocation import QuantConfig, Shape
from tests.fitting.test_data_free import ABOUT, plain, relative


@pytest.mark.parametrize("bits", [8, 4])
def test_it_is_plain_rounding(bits: int) -> None:
    """Rounding by hand to the steps that a file has gives its weights, and its error is plain's at plain's bytes."""
    rng = np.random.default_rng(0)
    weights = {
        "a": rng.standard_t(3, size=(48, 24, 3, 3)).astype(np.float32),
        "b": rng.normal(size=(64, 96)).astype(np.float32),
        "v": rng.normal(size=64).astype(np.float32),
    }
    wanted = {name: plain(weight, bits) for name, weight in weights.items() if name != "v"}
    weights["b"][3] = 0  # an output that does nothing needs a step all the same
    shapes = [Shape(n, "matrix" if w.ndim > 1 else "scalar", w.shape) for n, w in weights.items()]
    source = WeightSource(weights, shapes, "x", None)
    size = sum(each for each, _ in wanted.values()) + 2 * 64 + 300
    problem = build_plain_problem(source, QuantConfig(states=8))
    found = SizeSearch(problem, Container(ABOUT).packer(source)).fit(size, Silent())
    plans = {tensor.name: tensor for tensor in found.plan.tensors}
    errors = {}
    for name, (_, error) in wanted.items():
        rounded, rows = found.model.tensors[name].weights(), weights[name].reshape(len(weights[name]), -1)
        assert plans[name].format == PER_CHANNEL
        steps = (plans[name].base * 2.0 ** (np.array(plans[name].row_codes) / 4)).astype(np.float16).astype(np.float32)
        assert np.allclose(rounded.reshape(rows.shape), np.rint(rows / steps[:, None]) * steps[:, None], rtol=1e-3)
        errors[name] = relative(rounded, weights[name]) / error
    assert sum(errors.values()) / len(errors) < 1.03
    assert np.array_equal(found.model.tensors["v"].weights(), weights["v"].astype(np.float16).astype(np.float32))
