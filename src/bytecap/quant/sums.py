"""Running sums of one weight for one kind of use: second moments of inputs and of the gradients at the outputs.

In:   rows of inputs and of gradients, in the order of the weight's own rows and columns.
Out:  sums over rows and over columns, matrices or their diagonals, for each part of the weight.

Letters: N positions, E parts, R rows and C columns of the weight, V vocabulary, D width of an embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bytecap.quant.parameters import Layout
from bytecap.quant.patches import Spread
from bytecap.quant.spill import release, zeros

MIN_BANDS, BANDS = 1024, 8
"""Width from which on a second moment is added in so many bands, each from the diagonal on: 9 of 16 of the work."""


class Sums:
    """Sums whose columns are inputs and whose rows are outputs; where the use is swapped it is the other way round."""

    def __init__(
        self, shape: tuple[int, int, int], device: torch.device, *, full_rows: bool, full_columns: bool
    ) -> None:
        """`shape` is (E, R, C); with one part the sums have no axis for parts."""
        self.shape = parts, rows, columns = shape
        before = (parts,) if parts > 1 else ()
        self.columns, columns_file = zeros((*before, columns, columns) if full_columns else (*before, columns), device)
        self.rows, rows_file = zeros((*before, rows, rows) if full_rows else (*before, rows), device)
        self._files = rows_file, columns_file
        self.seen = torch.zeros(parts if parts > 1 else rows, device=device)
        """Positions of each part, or how often each row of an embedding was read."""
        self.count = 0

    def add_columns(self, rows_NC: Tensor, at: slice) -> None:
        """Rows with a number for each column of a block."""
        _add_squares(self.columns, rows_NC, at)
        release(self._files)

    def add_rows(self, rows_NR: Tensor, at: slice) -> None:
        """Rows with a number for each row of a block."""
        _add_squares(self.rows, rows_NR, at)
        release(self._files)

    def add_patches(self, values: Tensor, spread: Spread, scale: Tensor | None, at: slice, *, rows: bool) -> int:
        """Patches, with a number for each row or column of a block; how many they are."""
        sums = self.rows if rows else self.columns
        block = sums[at] if sums.ndim == 1 else sums[at, at]
        if scale is None:
            count = spread.add_moments(values, block)
        else:
            found = torch.zeros_like(block)
            count = spread.add_moments(values, found)
            block += found * (torch.outer(scale, scale) if found.ndim == 2 else scale.square())
        release(self._files)
        return count

    def add_parts(self, rows_ENR: Tensor, columns_ENC: Tensor, routed_EN: Tensor, layout: Layout) -> None:
        """Rows for each part of a layout, those that are not routed to it left out."""
        given, kept_EN1 = len(routed_EN), routed_EN[..., None]
        for place, part in enumerate(range(layout.part.start, layout.part.stop)):
            one = place if given > 1 else 0
            kept = kept_EN1[one]
            _add_squares(self.rows[part], rows_ENR[one] * kept, layout.row)
            _add_squares(self.columns[part], columns_ENC[one] * kept, layout.column)
            self.seen[part] += kept.sum()
        release(self._files)

    def add_routed(self, rows_NR: Tensor, columns_NC: Tensor, routed_N: Tensor, part_N: Tensor, layout: Layout) -> None:
        """Rows, each of which goes to the part of this number."""
        for part in torch.unique(part_N).tolist():
            mine_N = (part_N == part) & routed_N
            _add_squares(self.rows[part], rows_NR[mine_N], layout.row)
            _add_squares(self.columns[part], columns_NC[mine_N], layout.column)
            self.seen[part] += mine_N.sum()
        release(self._files)

    def add_all_labels(self, slope_NV: Tensor | None, p_NV: Tensor) -> None:
        """The sum over every label, each with its probability, instead of one drawn label; slopes of None are 1."""
        mean_NV = p_NV if slope_NV is None else slope_NV * p_NV
        square_NV = mean_NV if slope_NV is None else slope_NV * mean_NV
        if self.rows.ndim == 2:
            self.rows += torch.diag(square_NV.sum(dim=0))
            self.rows.addmm_(mean_NV.T, mean_NV, alpha=-1.0)
        else:
            self.rows += (square_NV - mean_NV.square()).sum(dim=0)
        release(self._files)

    def add_all_targets(self, slope_NK: Tensor) -> None:
        """The expectation over targets with independent errors of variance 1, for the slopes of real outputs."""
        square_K = slope_NK.square().sum(dim=0)
        self.rows += torch.diag(square_K) if self.rows.ndim == 2 else square_K
        release(self._files)

    def add_embedding(self, token_N: Tensor, gradient: Tensor) -> None:
        """Record an embedding as if one-hot rows were outputs: G gathers each token's gradient, A its directions."""
        gradient_ND = gradient.detach().reshape(-1, gradient.size(-1)).float()
        self.columns.addmm_(gradient_ND.T, gradient_ND)
        self.rows.index_add_(0, token_N, gradient_ND.square().sum(dim=1))
        self.seen += torch.bincount(token_N, minlength=self.seen.numel())
        release(self._files)


def _add_squares(sums: Tensor, rows_NC: Tensor, at: slice) -> None:
    """Add the second moment of rows to a block of a matrix (C, C), or its diagonal to (C,).

    A large one is added in bands from the diagonal on: it is symmetric, and `whole` gives the rest.
    """
    width = rows_NC.size(1)
    if sums.ndim == 1:
        sums[at] += rows_NC.square().sum(dim=0)
    elif width < MIN_BANDS:
        sums[at, at].addmm_(rows_NC.T, rows_NC)
    else:
        block, band = sums[at, at], -(-width // BANDS)
        for begin in range(0, width, band):
            block[begin : begin + band, begin:].addmm_(rows_NC[:, begin : begin + band].T, rows_NC[:, begin:])


def whole(sums: Tensor) -> Tensor:
    """A sum of second moments with what lies below the diagonal."""
    return sums if sums.ndim == 1 or sums.size(0) < MIN_BANDS else sums.triu() + sums.triu(1).T
