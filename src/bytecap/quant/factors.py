"""Triangular factors of inverse curvature: what feedback and steps are made of.

In:   the curvature of a weight and a damping.
Out:  U with UᵀU = (A + damping)⁻¹, and V for G, both upper triangular, so that rounding in order sees pivots 1 / U_jj².

Source:  the Cholesky form is GPTQ's, arXiv 2210.17323.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import NumericsError
from bytecap.quant.statistics import Curvature

MAX_DIRECT = 512
"""Rows up to which an inverse is not worth splitting."""
MIN_SINGLE = 1024
"""Rows from which a factor is kept at 32 bits, which is what rounding goes by: wide ones are most of a fit's memory."""
Doubles = npt.NDArray[np.float64]
Reals = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Factors:
    """The factors of one weight of shape (O, I)."""

    inputs: Reals
    """U, (I, I), or its diagonal (I,) where errors are not fed back to later columns; or one block of a U that has the
    same block (K, K) all along its diagonal, I = K · `repeats`."""
    outputs: Reals
    """V, (O, O) for feedback on both sides, or 1 / sqrt(G_ii), (O,), for one."""
    parts: tuple[Factors, ...] = ()
    """The factors of each part, where rows are so many parts with inputs of their own; the fields above are those of
    the nearest curvature with the same inputs for all."""
    repeats: int = 1
    """How often the inputs' factor stands along the diagonal of U: once for each channel that a kernel reads."""

    def by_part(self, rows: int) -> list[tuple[slice, Factors]]:
        """Which of so many rows share their inputs, and their factors."""
        each = rows // max(len(self.parts), 1)
        return [(slice(i * each, (i + 1) * each), part) for i, part in enumerate(self.parts or (self,))]

    def loss(self, error_OI: npt.NDArray[np.floating]) -> float:
        """½ tr((G + damping) E (A + damping) Eᵀ), the predicted loss of an error without feedback."""
        total = 0.0
        for here, part in self.by_part(len(error_OI)):
            left = _divided(part.outputs, error_OI[here].astype(np.float64))
            total += 0.5 * float(np.square(_divided(part.inputs, left.reshape(-1, len(part.inputs)).T)).sum())
        return total

    @property
    def row_factors_O(self) -> Reals:
        """V_ii, or 1 / sqrt(G_ii)."""
        return np.diagonal(self.outputs) if self.outputs.ndim == 2 else self.outputs

    @property
    def column_factors_I(self) -> Reals:
        """U_jj."""
        return np.tile(np.diagonal(self.inputs) if self.inputs.ndim == 2 else self.inputs, self.repeats)

    @property
    def inputs_diagonal(self) -> Doubles:
        """A_jj of the damped curvature, (I,), or (K,) where it repeats: what an error that is not fed back meets."""
        if self.inputs.ndim == 1:
            return self.inputs.astype(np.float64) ** -2.0
        return np.asarray(np.square(inverse_of_upper(self.inputs)).sum(axis=1), np.float64)


def build_factors(
    name: str, curvature: Curvature, *, damping: float, row_damping: float | None = None, two_sided: bool
) -> Factors:
    """Damping is a share of the mean diagonal, so inputs that were never active get a finite, coarse step.

    `row_damping` is that of the outputs, where it differs.
    """
    if curvature.parts:
        return _joined(
            [build_factors(name, part, damping=damping, row_damping=row_damping, two_sided=two_sided)
             for part in curvature.parts]
        )  # fmt: skip
    row_damping = damping if row_damping is None else row_damping
    inputs = (
        inverse_factor(name, curvature.inputs_II, damping) if curvature.inputs_II.ndim == 2
        else _inverse_roots(curvature.inputs_II, damping)
    )  # fmt: skip
    if two_sided and curvature.outputs.ndim == 2:
        return Factors(inputs, inverse_factor(name, curvature.outputs, row_damping))
    return Factors(inputs, _inverse_roots(curvature.outputs_diagonal_O, row_damping))


def _divided(factor: Reals, error: Doubles) -> Doubles:
    """The error times the inverse of a factor's transpose; the factor may be given by its diagonal."""
    if factor.ndim == 1:
        return error / factor[:, None]
    return np.asarray(np.linalg.solve(factor.T, error), np.float64)


def _joined(parts: list[Factors]) -> Factors:
    """Parts as one: columns by the geometric mean over the parts, rows by what each part adds to it."""
    log_PI = np.log(np.stack([part.column_factors_I for part in parts]))
    column_I = log_PI.mean(axis=0)
    more_P = np.exp((log_PI - column_I).mean(axis=1))
    rows = np.concatenate([part.row_factors_O * more for part, more in zip(parts, more_P, strict=True)])
    return Factors(np.exp(column_I), rows, tuple(parts))


def _inverse_roots(diagonal: npt.NDArray[np.floating], damping: float) -> Doubles:
    wide: Doubles = diagonal.astype(np.float64)
    roots: Doubles = (wide + max(damping * float(wide.mean()), 1e-30)) ** -0.5
    return roots


def inverse_factor(name: str, curvature: npt.NDArray[np.floating], damping: float) -> Reals:
    """Upper triangular U with UᵀU = (curvature + damping · mean diagonal)⁻¹; NumericsError when there is none."""
    wide = curvature.astype(np.float64)
    wide[np.diag_indices_from(wide)] += max(damping * float(np.mean(np.diagonal(wide))), 1e-30)
    try:
        # The lower factor of the matrix turned end for end, turned back, is upper: no inverse of a product needed.
        upper = np.linalg.cholesky(wide[::-1, ::-1])[::-1, ::-1]
        factor = inverse_of_upper(upper)
    except np.linalg.LinAlgError:
        raise NumericsError(
            f"the curvature of {name} is not positive definite with damping {damping:g}; raise --set quant.damping or "
            "measure more calibration text",
            tensor=name,
        ) from None
    return factor.astype(np.float32 if len(factor) >= MIN_SINGLE else np.float64, order="C", copy=False)


def inverse_of_upper(upper: npt.NDArray[np.floating]) -> Doubles:
    """The inverse of an upper triangular matrix, of a large one by halves.

    That of [[A, B], [0, C]] is [[A⁻¹, -A⁻¹ B C⁻¹], [0, C⁻¹]]: a sixth of the work of one that does not know of zeros.
    """
    size = len(upper)
    if size <= MAX_DIRECT:
        direct: Doubles = np.linalg.inv(upper).astype(np.float64, copy=False)
        return direct
    half, found = size // 2, np.zeros((size, size))
    found[:half, :half] = inverse_of_upper(upper[:half, :half])
    found[half:, half:] = inverse_of_upper(upper[half:, half:])
    found[:half, half:] = -(found[:half, :half] @ upper[:half, half:]) @ found[half:, half:]
    return found
