"""Labels drawn along the sum of their probabilities."""

import torch

from bytecap.quant.labels import MANY_LABELS, draw_labels


def test_drawn_as_often_as_they_are_likely() -> None:
    """Of a large vocabulary with three likely labels, at both ends and inside; never one of probability zero."""
    p_V = torch.zeros(2 * MANY_LABELS)
    likely = {0: 0.5, MANY_LABELS: 0.3, 2 * MANY_LABELS - 1: 0.2}
    for label, share in likely.items():
        p_V[label] = share * 0.7  # sums need not be one
    drawn_N1 = draw_labels(p_V.expand(2_000, -1), torch.Generator().manual_seed(0))
    found = {label: float((drawn_N1 == label).float().mean()) for label in likely}
    assert sum(found.values()) > 0.9999 and all(abs(found[label] - share) < 0.04 for label, share in likely.items())


def test_the_label_in_whose_interval_the_number_lies() -> None:
    """Against a walk along the probabilities."""
    p_NV = torch.rand(6, 2 * MANY_LABELS).square()
    drawn_N1 = draw_labels(p_NV, torch.Generator().manual_seed(1))
    number_N1 = torch.rand((6, 1), generator=torch.Generator().manual_seed(1))
    for p_V, number, drawn in zip(p_NV.double(), number_N1[:, 0].tolist(), drawn_N1[:, 0].tolist(), strict=True):
        left, label = number * float(p_V.sum()), 0
        while left >= float(p_V[label]):
            left, label = left - float(p_V[label]), label + 1
        assert abs(label - drawn) <= 1
