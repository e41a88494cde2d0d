"""The steps of Viterbi's search, one row at a time."""

import numpy as np

from bytecap.formats.trellis import next_states
from bytecap.quant.viterbi import begin_paths, propagate_errors, step_states, trace_back


def test_ways_and_a_row() -> None:
    """Each state has the two ways that lead into it; a row takes the cheaper one, and the last bit says the grid."""
    table = next_states(8).astype(np.int64)
    paths = begin_paths(table, 3, 1)
    for b in range(8):
        assert {table[way >> 1, way & 1] for way in paths.into_2S[:, b]} == {b}
    step_states(np.full(8, 2.2, np.float32), np.float32(1), np.float32(0), paths, 0)
    reached = sorted(table[3].tolist())
    assert sorted(np.flatnonzero(paths.cost_S < 1e20).tolist()) == reached
    by_parity = {int(paths.way_OS[0, b] & 1): int(paths.level_OS[0, b]) for b in reached}
    assert by_parity == {0: 3, 1: 1}  # odd levels: integer 2 stands for 3, integer 1 for 1
    symbols, rounded = np.zeros(1, np.int64), np.zeros(1, np.float32)
    last = trace_back(paths, np.array([0.5], np.float32), symbols, rounded)
    assert symbols[0] == 2 and rounded[0] == 1.5 and last == table[3, 0]


def test_errors_are_carried_down() -> None:
    """after = before - error @ V of the rows above."""
    rng = np.random.default_rng(0)
    V, before, error = rng.random((20, 20), np.float32), rng.random(9, np.float32), rng.random(7, np.float32)
    after = np.zeros(9, np.float32)
    propagate_errors(before, error, V, 3, after)
    assert np.allclose(after, before - error @ V[3:10, 11:], rtol=1e-5)
