"""The mix begins as its formula says, block by block; the blend itself is in the slow forward pass of test_gpt.py."""

import dataclasses
import math

import pytest

from bytecap.model.gpt import GPT
from bytecap.model.techniques.residual_mix import ResidualMixConfig
from tests.model.test_gpt import SPEC


@pytest.mark.parametrize("n_layers", [1, 2, 10])
def test_phase_transition_equals_the_slow_formula(n_layers: int) -> None:
    """Early blocks read more of the first stream; a lone block counts as the first."""
    techniques = {"residual_mix": ResidualMixConfig(start="phase_transition")}
    model = GPT(dataclasses.replace(SPEC, n_layers=n_layers, techniques=techniques))
    mix_L2D = model.techniques.get_parameter("residual_mix.mix_L2D")
    assert mix_L2D.shape == (n_layers, 2, SPEC.d_model)
    for i in range(n_layers):
        depth = i / (n_layers - 1) if n_layers > 1 else 0.0
        keep = 1 / (1 + math.exp(-3 * (depth - 0.5)))
        assert mix_L2D[i, 0].tolist() == pytest.approx([keep] * SPEC.d_model, abs=1e-6)
        assert mix_L2D[i, 1].tolist() == pytest.approx([1 - keep] * SPEC.d_model, abs=1e-6)


def test_by_default_a_block_reads_the_stream_alone() -> None:
    """Ones and zeros."""
    mix_L2D = GPT(SPEC).techniques.get_parameter("residual_mix.mix_L2D")
    assert (mix_L2D[:, 0] == 1).all() and (mix_L2D[:, 1] == 0).all()
