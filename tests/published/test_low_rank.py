"""The low-rank repair against power iteration and loops."""

import numpy as np
import pytest

from bytecap.published.low_rank import low_rank, low_rank_corrections


def residual(rows: int, columns: int, size: float = 1.0, seed: int = 0) -> np.ndarray:
    """Four clear directions in noise."""
    random = np.random.default_rng(seed)
    left, right = random.standard_normal((rows, 4)), random.standard_normal((4, columns))
    noise = random.standard_normal((rows, columns))
    return (size * (0.1 * noise + (left * [4, 3, 2, 1]) @ right)).astype(np.float32)


def directions_by_hand(matrix: np.ndarray, rank: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(U S, V) one after the other, by power iteration on what is left."""
    rest, found = matrix.astype(np.float64), []
    for _ in range(rank):
        v = np.ones(rest.shape[1])
        for _ in range(2000):
            v = rest.T @ (rest @ v)
            v /= np.linalg.norm(v)
        found.append((rest @ v, v))
        rest = rest - np.outer(rest @ v, v)
    return found


def integers_by_hand(values: list[float], bits: int) -> tuple[list[int], float]:
    half = 2 ** (bits - 1)
    scale = float(np.float16(max(abs(value) for value in values) / (half - 0.5)))
    return [max(-half, min(half - 1, round(value / scale))) for value in values], scale


@pytest.mark.parametrize(("rows", "columns"), [(30, 64), (20, 37), (64, 16), (3, 5)])
def test_by_hand(rows: int, columns: int) -> None:
    """Factors, integers and their product; up to the sign of a direction, which the rounding at 2 bits feels."""
    matrix = residual(rows, columns)
    found = low_rank(matrix)
    rank = min(4, rows, columns)
    left, right = [], []
    for k, (us, v) in enumerate(directions_by_hand(matrix, rank)):
        sign = np.sign(found.right_RI[k] @ v)
        left.append(sign * us)
        right.append(sign * v)
    symbols, scale = integers_by_hand(np.stack(left, 1).ravel().tolist(), 2)
    assert found.left_OR.ravel().tolist() == symbols and float(found.left_scale) == scale
    flat, all_symbols, scales, each = np.stack(right).ravel().tolist(), [], [], []
    for begin in range(0, len(flat), 64):
        part, part_scale = integers_by_hand(flat[begin : begin + 64], 4)
        all_symbols += part
        scales.append(part_scale)
        each += [part_scale] * len(part)
    assert found.right_RI.ravel().tolist() == all_symbols and found.right_scales_G.tolist() == scales
    product = np.zeros((rows, columns))
    for o in range(rows):
        for i in range(columns):
            for k in range(rank):
                at = k * columns + i
                product[o, i] += symbols[o * rank + k] * scale * all_symbols[at] * each[at]
    assert found.product().dtype == np.float32
    assert np.allclose(found.product(), product, rtol=1e-6, atol=1e-7)


def test_it_repairs() -> None:
    """The largest direction comes back to a good part, though never better than four exact ones."""
    matrix = residual(128, 96)
    exact = np.linalg.svd(matrix)[1]
    before, after = np.linalg.norm(matrix), np.linalg.norm(matrix - low_rank(matrix).product())
    assert np.sqrt(np.square(exact[4:]).sum()) < after < 0.8 * before


def test_the_three_worst() -> None:
    """By Frobenius norm of the residual, the worst first; fewer tensors than three are all repaired."""
    sizes = {"a": 0.5, "b": 2.0, "c": 1.0, "d": 3.0, "e": 0.1}
    residuals = {name: residual(20, 24, size) for name, size in sizes.items()}
    found = low_rank_corrections(residuals)
    assert list(found) == ["d", "b", "c"]
    assert np.array_equal(found["b"].product(), low_rank(residuals["b"]).product())
    assert list(low_rank_corrections({"a": residuals["a"]})) == ["a"] and low_rank_corrections({}) == {}


def test_ranges_and_nothing_lost() -> None:
    """Integers stay in their ranges; a residual of nothing is repaired by nothing."""
    found = low_rank(residual(50, 70))
    assert found.left_OR.min() >= -2 and found.left_OR.max() <= 1
    assert found.right_RI.min() >= -8 and found.right_RI.max() <= 7
    assert not low_rank(np.zeros((6, 9), np.float32)).product().any()
