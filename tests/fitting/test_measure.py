"""Which windows our own models are measured, distilled and compared on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytecap.core.errors import DataError
from bytecap.core.progress import Silent
from bytecap.fitting.measure import CalibrationText, batch_shape, comparison_windows, make_adaptation, measure
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.compensation import Compensator
from bytecap.quant.distillation import Distiller
from bytecap.quant.statistics import Calibration
from bytecap.text.shards import ShardWriter, TokenStream

SPEC = ModelSpec(vocab_size=32, n_layers=1, d_model=16, n_heads=1, n_kv_heads=1, d_ff=32, techniques={})


def stream_of(folder: Path, count: int) -> TokenStream:
    """Tokens that tell where they stand: n mod 31 + 1."""
    writer = ShardWriter(folder, "train", 1 << 20)
    writer.write((np.arange(count) % 31 + 1).tolist())
    writer.close()
    return TokenStream(writer.paths)


def test_batches_have_about_the_tokens_wanted() -> None:
    """About as many tokens as wanted, never more than there are, in windows that a short text can fill."""
    assert batch_shape(10**6, 65_536, 256) == (32, 8, 256)
    steps, batch, context = batch_shape(300, 65_536, 256)
    assert context <= 100 and 200 <= steps * batch * context <= 300


def test_comparison_windows_do_not_overlap(tmp_path: Path) -> None:
    """Each position is a target at most once, about as many as asked for, and a row is a piece of the stream."""
    stream = stream_of(tmp_path, 5_000)
    rows = torch.cat(list(comparison_windows(stream, tokens=1_000, context=100, device=torch.device("cpu"))))
    assert rows.shape == (10, 101)
    assert ((rows[:, 1:] - rows[:, :-1]) % 31 == 1).all()
    whole = list(comparison_windows(stream, tokens=10**9, context=100, device=torch.device("cpu")))
    assert sum(len(row) for row in whole) == 49


def test_short_text_is_refused(tmp_path: Path) -> None:
    """With how many tokens are needed."""
    with pytest.raises(DataError, match="has 200 tokens, at least 256 are needed"):
        measure(GPT(SPEC), CalibrationText(stream_of(tmp_path, 200), 1, 64, 0), QuantConfig(), "x", Silent())


def test_seed_and_labels(tmp_path: Path) -> None:
    """Another seed another one, and the data's labels yet another."""
    stream = stream_of(tmp_path, 3_000)
    torch.manual_seed(0)
    model = GPT(SPEC)

    def measured(seed: int, **settings: Any) -> Calibration:
        config = QuantConfig(calibration_tokens=500, **settings)
        return measure(model, CalibrationText(stream, 1, 64, seed), config, "x", Silent())

    def inputs(seed: int) -> np.ndarray:
        return measured(seed).tensors["embedding"].inputs_II

    assert np.array_equal(inputs(0), inputs(0)) and not np.array_equal(inputs(0), inputs(1))
    theirs = measured(0, labels="data")
    assert not np.array_equal(theirs.tensors["embedding"].outputs, measured(0).tensors["embedding"].outputs)


def test_compensation_when_asked_for(tmp_path: Path) -> None:
    """Every linear map of two blocks, those that write to the stream by themselves, on the tokens that are wanted."""
    stream, model = stream_of(tmp_path, 5_000), GPT(SPEC)
    begin = make_adaptation(model, CalibrationText(stream, 1, 64, 0), QuantConfig(compensation_tokens=4_200))
    assert begin is not None
    found = begin([name for name, _ in model.named_parameters()])
    assert isinstance(found, Compensator) and len(found._batches) == 2
    names = [entry.name for group in found.groups for entry in group]
    assert set(names) == {name for name, p in model.named_parameters() if name.endswith(".weight") and p.ndim == 2}


def test_distillation_only_when_asked_for(tmp_path: Path) -> None:
    """Without steps there is none; with them open weights come back changed and the model stays."""
    stream, model = stream_of(tmp_path, 3_000), GPT(SPEC)
    text = CalibrationText(stream, 1, 64, 0)
    assert make_adaptation(model, text, QuantConfig()) is None
    begin = make_adaptation(model, text, QuantConfig(distill_steps=2))
    assert begin is not None
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    distiller = begin(list(weights))
    assert isinstance(distiller, Distiller)
    adapted = distiller("embedding", weights["embedding"] + 0.01, dict.fromkeys(weights, 0.1))
    assert set(adapted) == set(weights) - {"embedding"}
    assert any(not np.array_equal(adapted[name], weights[name]) for name in adapted)
    assert all(np.array_equal(model.state_dict()[name].numpy(), value) for name, value in weights.items())
