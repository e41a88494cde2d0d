"""A streamed score equals one pass over the whole stream with each position's own window written as a mask."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from bytecap.core.progress import Silent
from bytecap.model import attention_blocks
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.scoring import streaming
from bytecap.scoring.evaluate import StaticScoring, evaluate
from bytecap.scoring.streaming import StreamPart, stream_parts, streaming_reach
from tests.model.test_cache import with_one_mask
from tests.model.test_gpt import SPEC, random_model
from tests.scoring.test_evaluate import TABLE, stream_of, unchecked

CONTEXT, STRIDE = 12, 4
TECHNIQUES = with_defaults("smear_gate", "bigram_hash", "unet_skips", "residual_mix")


def spec(across: bool = False) -> ModelSpec:
    return dataclasses.replace(SPEC, techniques=TECHNIQUES, across_documents=across)


def random_ids(count: int, longest: int) -> list[int]:
    """Documents of 1 to `longest` tokens; the first begins before the stream does."""
    random, ids = np.random.default_rng(0), [7, 8]
    while len(ids) < count:
        ids += [1, *random.integers(2, 50, random.integers(0, longest)).tolist()]
    return ids[:count]


@pytest.fixture(params=["one row in blocks", "rows with a mask"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to run a stream; parts as short as documents let them be."""
    monkeypatch.setattr(attention_blocks, "_MIN_SIZE", 1 if request.param == "one row in blocks" else 1 << 40)
    monkeypatch.setattr(streaming, "PART_TOKENS", 30)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 7, 32, 4096])
@pytest.mark.usefixtures("way")
def test_equals_one_pass_with_a_mask(
    tmp_path: Path, across: bool, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nats, bytes, and the documents' own sums, in chunks of any size."""
    model, ids = random_model(spec(across)), random_ids(200, 40)
    how = StaticScoring(context=CONTEXT, stride=STRIDE, batch_tokens=batch_tokens, strategy="streaming")
    found = evaluate(model, unchecked(stream_of(tmp_path, ids)), how, Silent())
    with monkeypatch.context() as patch:
        hidden_TD = with_one_mask(model, torch.tensor([ids[:-1]]), CONTEXT - STRIDE // 2, patch)[0].detach()
    loss_T = -model.logits(hidden_TD).log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert found.nats == pytest.approx(float(loss_T.detach().sum()), rel=1e-5)
    assert found.text_bytes == TABLE.count(np.array(ids[:-1]), np.array(ids[1:])).sum()
    assert found.tokens == len(ids) - 1 and found.strategy == "streaming"
    assert found.documents is not None and found.documents.nats_D.sum() == pytest.approx(found.nats)


@pytest.mark.usefixtures("way")
def test_equals_windows_where_documents_fit(tmp_path: Path) -> None:
    """Where each document lies within what every window shows, the two definitions are one."""
    ids = random_ids(200, CONTEXT - STRIDE)
    model, validation = random_model(spec()), unchecked(stream_of(tmp_path, ids))
    windows = StaticScoring(context=CONTEXT, stride=STRIDE, batch_tokens=48)
    streams = dataclasses.replace(windows, strategy="streaming")
    streamed, windowed = (evaluate(model, validation, how, Silent()) for how in (streams, windows))
    assert streamed.nats == pytest.approx(windowed.nats, rel=1e-6)


def test_parts_begin_with_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its tokens at least, whatever lies in front of the first BOS; nothing is cut across documents."""
    ids = [5] * 3 + [1, 5, 5] + [1] + [5] * 9 + [1, 5] + [1, 1]
    stream = stream_of(tmp_path, ids)
    monkeypatch.setattr(streaming, "PART_TOKENS", 6)
    assert stream_parts(stream, 1, isolated=True) == [StreamPart(0, 6), StreamPart(6, 16), StreamPart(16, 19)]
    assert stream_parts(stream, 1, isolated=False) == [StreamPart(0, 19)]
    assert streaming_reach(512, 64) == 480 and streaming_reach(1, 1) == 1
