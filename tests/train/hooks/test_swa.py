"""The mean equals one written out, and is exported when asked for."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bytecap.text.shards import TokenStream
from bytecap.train.hooks.swa import SWA, SWAConfig
from tests.train.hooks.test_ema import finished
from tests.train.test_loop import stream

assert stream  # a fixture


@pytest.mark.parametrize(("start", "every"), [(0.0, 1), (0.35, 3), (1.0, 7)])
def test_equals_the_slow_mean(start: float, every: int) -> None:
    """All weights that were due, kept and averaged at the end, number by number."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    swa = SWA(SWAConfig(start=start, every=every), model)
    kept, since = [], 0
    for step in range(11):
        with torch.no_grad():
            model.weight.normal_()
        swa.after_step(model, step / 10)
        if step / 10 >= start:
            if since % every == 0:
                kept.append(model.weight.tolist()[0])
            since += 1
    slow = [sum(column) / len(kept) for column in zip(*kept, strict=True)]
    torch.testing.assert_close(swa.at_end(model)["weight"], torch.tensor([slow]))


def test_it_is_exported(tmp_path: Path, stream: TokenStream) -> None:
    """As the checkpoint's weights, with the last ones beside them, and scored as such."""
    hooks = {"swa": SWAConfig(start=0.5, every=2)}
    saved = finished(tmp_path / "a", stream, hooks=hooks, exported_weights="swa")
    plain = finished(tmp_path / "b", stream)
    assert saved.exported == "swa" and not torch.equal(saved.weights["embedding"], plain.weights["embedding"])
    assert all(torch.equal(saved.other_weights["last"][name], value) for name, value in plain.weights.items())
