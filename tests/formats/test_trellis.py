"""The trellis is the one of the books, and levels follow integers one at a time."""

import numpy as np
import pytest

from bytecap.formats.trellis import CODES, SCALAR, coset_indices, next_states, to_levels


@pytest.mark.parametrize("states", CODES)
def test_code_is_a_trellis(states: int) -> None:
    """Two ways out of each state, two ways into each, and the even and the odd grid are used by half of the states."""
    table = next_states(states)
    assert table.shape == (states, 2) and (table[:, 0] != table[:, 1]).all()
    assert np.bincount(table.reshape(-1)).tolist() == [2] * states
    reached, frontier = {0}, [0]
    while frontier:
        frontier = sorted({int(b) for a in frontier for b in table[a]} - reached)
        reached.update(frontier)
    assert len(reached) == states


def test_the_4_state_code_written_out() -> None:
    """The 4-state code written out."""
    assert next_states(4).tolist() == GOLDEN
    assert next_states(SCALAR).tolist() == [[0, 0]]


GOLDEN = [[0, 1], [2, 3], [1, 0], [3, 2]]


@pytest.mark.parametrize("states", [SCALAR, 4, 8, 32])
def test_levels_one_at_a_time(states: int) -> None:
    """Even states take even levels, odd states odd ones and zero; signs are kept."""
    symbols = np.random.default_rng(0).integers(-6, 7, (30, 5)).astype(np.int16)
    levels, grids, table = to_levels(symbols, states), coset_indices(symbols, states), next_states(states)
    for j in range(5):
        state = 0
        for i in range(30):
            k = int(symbols[i, j])
            assert grids[i, j] == state & 1
            if states == SCALAR:
                assert levels[i, j] == k
            elif state & 1:
                assert levels[i, j] == (0 if k == 0 else (2 * abs(k) - 1) * (1 if k > 0 else -1))
            else:
                assert levels[i, j] == 2 * k
            state = int(table[state, k & 1])
