"""What is run scores each position once, with the tokens that its window and its document give it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.core.progress import Silent
from bytecap.model import attention_blocks
from bytecap.scoring.evaluate import StaticScoring, evaluate
from bytecap.scoring.windowed import plan_windows
from bytecap.scoring.windows import windows
from tests.model.test_gpt import SPEC, random_model
from tests.scoring.test_evaluate import stream_of, unchecked
from tests.scoring.test_streaming import random_ids


@given(st.integers(1, 300), st.integers(1, 40), st.data())
def test_each_position_sees_what_its_window_shows_of_its_document(
    targets: int, context: int, data: st.DataObject
) -> None:
    """From the definition, one position after the other; and no more is run than all windows."""
    stride = data.draw(st.integers(1, context))
    begins = sorted({0, *data.draw(st.lists(st.integers(1, targets), max_size=targets))})
    document = np.searchsorted(begins, np.arange(targets), side="right") - 1
    all_windows = list(windows(targets, context=context, stride=stride))
    expected = {
        position: max(window.start, begins[document[position]])
        for window in all_windows
        for position in range(window.start + window.skip, window.start + window.length)
    }
    plan = plan_windows(targets, np.array(begins), context=context, stride=stride)
    found: dict[int, int] = {}
    for start, length, skip, scored in [*plan.beginnings_N4.tolist(), *plan.windows_N4.tolist()]:
        assert 0 < scored <= length - skip and start + length <= targets and length <= context
        for position in range(start + skip, start + skip + scored):
            assert position not in found
            found[position] = max(start, begins[document[position]])
    assert found == expected
    assert all(start in begins and not skip and scored == n for start, n, skip, scored in plan.beginnings_N4.tolist())
    assert plan.positions <= sum(window.length for window in all_windows)


def test_across_documents_and_plain_windows_are_run_as_they_are() -> None:
    """Nothing is shared there."""
    begins = np.array([0, 3, 9, 20])
    for begins_D, stride in ((None, 4), (begins, 10)):
        plan = plan_windows(25, begins_D, context=10, stride=stride)
        assert not len(plan.beginnings_N4)
        found = [tuple(row) for row in plan.windows_N4[:, :3].tolist()]
        assert found == list(windows(25, context=10, stride=stride))
        assert (plan.windows_N4[:, 2] + plan.windows_N4[:, 3] == plan.windows_N4[:, 1]).all()


def test_short_documents_are_run_once() -> None:
    """A long one once from its beginning, then in windows."""
    plan = plan_windows(25, np.array([0, 3, 5, 20]), context=10, stride=4)
    assert plan.beginnings_N4.tolist() == [[0, 3, 0, 3], [3, 2, 0, 2], [5, 9, 0, 9], [20, 5, 0, 5]]
    assert plan.windows_N4.tolist() == [[8, 10, 6, 4], [12, 10, 6, 2]]


@pytest.mark.parametrize("size", [1, 1 << 40])
@pytest.mark.parametrize("batch_tokens", [1, 50, 10_000])
@pytest.mark.parametrize("across", [False, True])
def test_the_score_is_that_of_each_window_alone(
    across: bool, batch_tokens: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks and with a mask, documents shorter and longer than the window, one that began before the stream."""
    model = random_model(dataclasses.replace(SPEC, across_documents=across))
    ids = random_ids(160, 30)
    stream = stream_of(tmp_path, ids)
    nats = 0.0
    for start, length, skip in windows(len(ids) - 1, context=16, stride=5):
        row_1T = stream.read(start, length + 1)[None]
        about: Any = (row_1T[:, :-1], row_1T[:, 1:])
        nats += float(
            model(*(model.embedding.new_tensor(a).long() for a in about), 1)[0, skip:].double().detach().sum()
        )
    monkeypatch.setattr(attention_blocks, "_MIN_SIZE", size)
    how = StaticScoring(context=16, stride=5, batch_tokens=batch_tokens)
    found = evaluate(model, unchecked(stream), how, Silent())
    assert found.nats == pytest.approx(nats, rel=1e-6) and found.tokens == len(ids) - 1
