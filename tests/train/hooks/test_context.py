"""Rows are cut as by hand, the same tokens in the same order; what cannot be cut is refused."""

from pathlib import Path

import pytest
import torch

from bytecap.core.errors import ConfigError, Stopped
from bytecap.text.shards import TokenStream
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.context import ContextConfig, ShortContext
from tests.contracts.hooks import MODEL, STEPS, build_job, build_trainer
from tests.train.test_loop import rows, stream

assert stream  # a fixture


def test_equals_slow_cutting(stream: TokenStream) -> None:
    """Row by row: inputs and targets of a window, taken in pieces; nothing changes from the start on."""
    hook = ShortContext(ContextConfig(start=0.5, before=4), torch.nn.Linear(1, 1))
    hook.prepare(build_job(stream, None))
    rows_BT = torch.randint(50, (3, 17))
    inputs, targets = [], []
    for row in rows_BT.tolist():
        for begin in range(0, 16, 4):
            inputs.append(row[begin : begin + 4])
            targets.append(row[begin + 1 : begin + 5])
    short = hook.rows(rows_BT, 0.49)
    assert short[:, :-1].tolist() == inputs and short[:, 1:].tolist() == targets
    assert hook.rows(rows_BT, 0.5) is rows_BT


@pytest.mark.parametrize("stop", [None, 2, 9])
def test_the_shape_of_every_step(tmp_path: Path, stream: TokenStream, stop: int | None) -> None:
    """A quarter of 16 positions up to step 4 of 12, the same number of tokens in each; also after a stop."""
    seen = []
    if stop is not None:
        stopped = build_trainer(tmp_path, stream, "context", stop)
        with pytest.raises(Stopped):
            stopped.run()
        seen = stopped.seen
    trainer = build_trainer(tmp_path, stream, "context")
    trainer.run()
    shapes = [(len(step["data"]), len(step["data"][0])) for step in seen + trainer.seen]
    assert shapes == 5 * [(16, 4)] + (STEPS - 5) * [(4, 16)]
    assert [row["tokens"] for row in rows(tmp_path)] == [64 * (step + 1) for step in range(STEPS)]


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (16, r"before is 16, and train\.context too, so nothing would change"),
        (5, r"before is 5; it must be a divisor of train\.context, which is 16"),
        (32, r"before is 32; it must be a divisor of train\.context, which is 16"),
        (-1, r"before is -1; it must lie between 0 and"),
    ],
)
def test_impossible_lengths_are_refused(before: int, message: str) -> None:
    """By both keys."""
    with pytest.raises(ConfigError, match=rf"train\.hooks\.context: {message}"):
        TrainConfig(context=16, hooks={"context": ContextConfig(before=before)}).check_hooks(MODEL)
