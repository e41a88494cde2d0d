"""Scores equal a slow sum, one position at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytecap.core.errors import ConfigError, DataError, NumericsError
from bytecap.core.progress import Silent
from bytecap.core.units import bits_per_byte
from bytecap.scoring.evaluate import ScoreConfig, StaticScoring, evaluate
from bytecap.scoring.validation import Validation
from bytecap.text.byte_check import ByteCheck
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import ShardWriter, TokenStream
from tests.model.test_gpt import random_model

TABLE = ByteTable(
    bytes_V=np.arange(50) % 5,
    leading_space_V=np.arange(50) % 3 == 0,
    boundary_V=np.arange(50) < 4,
    drops_first_space=True,
)

PLAIN = StaticScoring(context=16, stride=16, batch_tokens=64)


def stream_of(folder: Path, ids: list[int]) -> TokenStream:
    writer = ShardWriter(folder, "val", 40)
    writer.write(ids)
    writer.close()
    return TokenStream(writer.paths)


def unchecked(stream: TokenStream, byte_stream: TokenStream | None = None, table: ByteTable = TABLE) -> Validation:
    """A text as if its bytes had been checked."""
    return Validation(stream, byte_stream, table, 1, ByteCheck(0, None, None))


def random_ids(count: int = 95) -> list[int]:
    ids = np.random.default_rng(0).integers(2, 50, count)
    ids[::17] = 1
    return [int(i) for i in ids]


@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 5), (16, 1), (200, 64)])
def test_equals_position_by_position(tmp_path: Path, context: int, stride: int) -> None:
    """Each target with exactly the tokens its window gives it."""
    model, ids = random_model(), random_ids()
    how = StaticScoring(context=context, stride=stride, batch_tokens=64)
    found = evaluate(model, unchecked(stream_of(tmp_path, ids)), how, Silent())
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
    model, validation = random_model(), unchecked(stream_of(tmp_path, random_ids()))
    one, all_at_once = (
        evaluate(model, validation, StaticScoring(context=16, stride=4, batch_tokens=b), Silent()) for b in (1, 10_000)
    )
    assert one.nats == pytest.approx(all_at_once.nats, rel=1e-6)


def test_sidecar_replaces_the_table(tmp_path: Path) -> None:
    """Where each token's bytes are given, they are the denominator."""
    ids = random_ids()
    (tmp_path / "bytes").mkdir()
    sidecar = stream_of(tmp_path / "bytes", [9] + [2] * (len(ids) - 1))
    score = evaluate(random_model(), unchecked(stream_of(tmp_path, ids), sidecar), PLAIN, Silent())
    assert score.text_bytes == 2 * (len(ids) - 1)


def test_unusable_texts_and_models_are_refused(tmp_path: Path) -> None:
    """Too little text, a model that gives no finite loss, settings that cannot be."""
    model = random_model()
    with pytest.raises(DataError, match="fewer than two tokens"):
        evaluate(model, unchecked(stream_of(tmp_path, [1])), PLAIN, Silent())
    with torch.no_grad():
        model.embedding[5] = float("nan")
    with pytest.raises(NumericsError, match="not finite"):
        evaluate(model, unchecked(stream_of(tmp_path, random_ids())), PLAIN, Silent())


@pytest.mark.parametrize(
    "wrong", [{"stride": 0}, {"context": 0}, {"context": 1 << 15}, {"batch_tokens": 0}, {"batch_tokens": 10**12}]
)
def test_impossible_numbers(wrong: dict[str, Any]) -> None:
    """Numbers outside their bounds are refused where they are written."""
    with pytest.raises(ConfigError, match=r"it must lie between 1 and"):
        ScoreConfig(**wrong)
