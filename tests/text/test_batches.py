"""Windows of an epoch cover the text once, and any position can be resumed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.core.errors import DataError
from bytecap.text.batches import TrainBatches, epoch_order
from bytecap.text.shards import ShardWriter, TokenStream


def stream_of(folder: Path, tokens: int) -> TokenStream:
    writer = ShardWriter(folder, "train", 1000)
    writer.write(range(tokens))
    writer.close()
    return TokenStream(writer.paths)


@given(st.integers(0, 99), st.integers(0, 5), st.integers(1, 500))
def test_each_epoch_is_a_permutation(seed: int, epoch: int, windows: int) -> None:
    """Every window of an epoch is drawn exactly once."""
    a, b, shift = epoch_order(seed, epoch, windows, 16)
    assert sorted((a * i + b) % windows for i in range(windows)) == list(range(windows))
    assert 0 <= shift < 16


def test_windows_are_neighbouring_tokens_and_resume(tmp_path: Path) -> None:
    """Each row is a run of the stream; starting at a position gives the same batches as drawing up to it."""
    stream = stream_of(tmp_path, 3000)
    batches = TrainBatches(stream, batch=3, context=16, seed=4)
    drawn = [batches.next() for _ in range(150)]
    assert drawn[0].shape == (3, 17) and batches.epochs > 2
    assert all((np.diff(rows, axis=1) == 1).all() for rows in drawn)
    later = TrainBatches(stream, batch=3, context=16, seed=4, position=3 * 100)
    assert np.array_equal(later.next(), drawn[100]) and later.starts == drawn[100][:, 0].tolist()


def test_too_little_text(tmp_path: Path) -> None:
    """Fewer than two windows is an error with the numbers."""
    with pytest.raises(DataError, match="30 tokens, fewer than two windows of 16"):
        TrainBatches(stream_of(tmp_path, 30), batch=1, context=16, seed=0)
