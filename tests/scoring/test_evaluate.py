"""Scores equal a slow sum, one position at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytecap.core.errors import ConfigError, DataError, NumericsError
from bytecap.core.progress import Silent
from bytecap.core.units import bits_per_byte
from bytecap.scoring.evaluate import ScoreConfig, evaluate
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import ShardWriter, TokenStream
from tests.model.test_gpt import random_model

TABLE = ByteTable(
    bytes_V=np.arange(50) % 5,
    leading_space_V=np.arange(50) % 3 == 0,
    boundary_V=np.arange(50) < 4,
    drops_first_space=True,
)


def stream_of(folder: Path, ids: list[int]) -> TokenStream:
    writer = ShardWriter(folder, "val", 40)
    writer.write(ids)
    writer.close()
    return TokenStream(writer.paths)


def random_ids(count: int = 95) -> list[int]:
    ids = np.random.default_rng(0).integers(2, 50, count)
    ids[::17] = 1
    return [int(i) for i in ids]


@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 5), (16, 1), (200, 64)])
def test_equals_position_by_position(tmp_path: Path, context: int, stride: int) -> None:
    """Each target with exactly the tokens its window gives it."""
    model, ids = random_model(), random_ids()
    about: dict[str, Any] = {"context": context, "stride": stride, "progress": Silent()}
    found = evaluate(model, stream_of(tmp_path, ids), TABLE, bos=1, batch_tokens=64, **about)
    nats, text_bytes = 0.0, 0
    for target in range(1, len(ids)):
        position = target - 1
        if position < context:
            start = 0
        elif stride == context:
            start = position // context * context
        else:
            end = min(context + -(-(position + 1 - context) // stride) * stride, len(ids) - 1)
            start = end - context
        seen_BT = torch.tensor([ids[start:target]])
        logits = model.logits(model.hidden(seen_BT, 1))[0, -1].detach().double()
        nats += float(logits.logsumexp(0) - logits[ids[target]])
        text_bytes += int(TABLE.count(np.array([ids[position]]), np.array([ids[target]]))[0])
    assert found.tokens == len(ids) - 1 and found.text_bytes == text_bytes
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.bits_per_byte == bits_per_byte(found.nats, text_bytes)


def test_batching_changes_nothing_but_rounding(tmp_path: Path) -> None:
    """One window at a time or all at once."""
    model, stream = random_model(), stream_of(tmp_path, random_ids())
    about: dict[str, Any] = {"bos": 1, "context": 16, "stride": 4, "progress": Silent()}
    one, all_at_once = (evaluate(model, stream, TABLE, batch_tokens=b, **about) for b in (1, 10_000))
    assert one.nats == pytest.approx(all_at_once.nats, rel=1e-6)


def test_sidecar_replaces_the_table(tmp_path: Path) -> None:
    """Where each token's bytes are given, they are the denominator."""
    ids = random_ids()
    (tmp_path / "bytes").mkdir()
    sidecar = stream_of(tmp_path / "bytes", [9] + [2] * (len(ids) - 1))
    about: dict[str, Any] = {"bos": 1, "context": 16, "stride": 16, "batch_tokens": 64, "progress": Silent()}
    score = evaluate(random_model(), stream_of(tmp_path, ids), TABLE, byte_stream=sidecar, **about)
    assert score.text_bytes == 2 * (len(ids) - 1)


def test_refusals(tmp_path: Path) -> None:
    """Too little text, a model that gives no finite loss, settings that cannot be."""
    model = random_model()
    about: dict[str, Any] = {"bos": 1, "context": 16, "stride": 16, "batch_tokens": 64, "progress": Silent()}
    with pytest.raises(DataError, match="fewer than two tokens"):
        evaluate(model, stream_of(tmp_path, [1]), TABLE, **about)
    with torch.no_grad():
        model.embedding[5] = float("nan")
    with pytest.raises(NumericsError, match="not finite"):
        evaluate(model, stream_of(tmp_path, random_ids()), TABLE, **about)


@pytest.mark.parametrize(
    "wrong", [{"stride": 0}, {"context": 0}, {"context": 1 << 15}, {"batch_tokens": 0}, {"batch_tokens": 10**12}]
)
def test_impossible_numbers(wrong: dict[str, Any]) -> None:
    """Numbers outside their bounds are refused where they are written."""
    with pytest.raises(ConfigError, match=r"it must lie between 1 and"):
        ScoreConfig(**wrong)
