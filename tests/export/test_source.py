"""Comparisons that must find what is wrong."""

import pytest
import torch

from bytecap.core.errors import NumericsError
from bytecap.export.source import ExportSource, compare_logits, compare_weights
from tests.export.examples import make_file


def test_logits_are_compared_relative_to_the_largest() -> None:
    """Relative to the largest; a NaN and another shape are never equal."""
    a = torch.tensor([[10.0, -20.0]])
    assert compare_logits(a + 1e-5, a, "x") == pytest.approx(5e-7, rel=0.1)
    for wrong in (a + 1e-3, torch.full_like(a, torch.nan), a[:, :1]):
        with pytest.raises(NumericsError, match="x gives logits"):
            compare_logits(wrong, a, "x")


def test_weights_are_compared_by_name_shape_and_number() -> None:
    """By name, shape and number."""
    w = {"a": torch.ones(2, 2), "b": torch.zeros(3)}
    assert "all 7 numbers of 2 tensors" in compare_weights(w, w, "x")
    for wrong in ({"a": w["a"]}, w | {"c": w["a"]}, w | {"a": torch.zeros(2, 2)}, w | {"a": torch.ones(4)}):
        with pytest.raises(NumericsError, match="nothing was written"):
            compare_weights(wrong, w, "x")


def test_a_source_is_the_model() -> None:
    """Its logits are those of the file's model; its probes are the same twice, and each row is one document."""
    artifact = make_file()
    source = ExportSource(artifact)
    (tokens_BT,) = source.probes([(2, 9)])
    assert torch.equal(tokens_BT, source.probes([(2, 9)])[0])
    assert (tokens_BT == source.tokenizer.bos).sum(1).tolist() == [1, 1]
    model = artifact.model()
    with torch.no_grad():
        logits_BTV = model.logits(model.hidden(tokens_BT, source.tokenizer.bos))
    assert torch.equal(source.logits(tokens_BT), logits_BTV)
