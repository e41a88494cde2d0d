"""What computes a run is asked once, told where it is a fallback, and all of it stands in the state."""

import dataclasses
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.exc import TorchDynamoException
from torch.nn.attention import varlen

from bytecap.core.errors import BackendError, Stopped
from bytecap.core.progress import Silent
from bytecap.core.settings_reader import from_saved
from bytecap.model.attention_choice import AttentionChoice
from bytecap.text.shards import TokenStream
from bytecap.train import arithmetic
from bytecap.train.arithmetic import DocumentCapacity, compiling
from bytecap.train.checkpoint import CHECKPOINT, TrainingState, load_checkpoint
from bytecap.train.loop import Trainer
from tests.model.test_attention_segments import obvious_varlen
from tests.train.test_loop import SignalAt, rows, stream, trainer

assert stream  # a fixture


class Texts(TokenStream):
    """Tokens of a list."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = np.array(tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, start: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self.tokens[start : start + length]


def test_capacity_for_documents() -> None:
    """Powers of two above one and a half times what the text tells, more where a batch has more, and never less."""
    capacity = DocumentCapacity(Texts([1, 5, 5, 5] * 100), bos=1)
    few, many = torch.full((4, 17), 5), torch.ones(4, 17, dtype=torch.long)
    assert capacity(few) == 32  # 4 rows and 1.5 * 16 documents
    assert [capacity(many), capacity(few)] == [64, 64]  # 4 * 16: the last column is no input
    assert capacity(torch.full((2, 9), 5)) == 8  # another shape has a capacity of its own
    assert DocumentCapacity(Texts([5] * 9), bos=1)(few[:1]) == 1
    assert DocumentCapacity(Texts([1, 5]), bos=1)(torch.full((64, 1025), 5)) == 65_535


def test_training_with_segments(tmp_path: Path, stream: TokenStream, monkeypatch: pytest.MonkeyPatch) -> None:
    """An obvious twin of the kernel gives the losses of attention with a mask; the state names both where a run was
    stopped and went on with another."""
    expected = trainer(tmp_path / "a", stream, steps=4).run()
    assert expected.attention == ("sdpa with a document mask",) and expected.matmul_precisions == ("float32",)
    with pytest.raises(Stopped):
        trainer(tmp_path / "b", stream, progress=SignalAt(2, signal.SIGTERM), steps=4).run()
    monkeypatch.setattr(varlen, "varlen_attn", obvious_varlen)
    monkeypatch.setattr(arithmetic, "choose_attention", lambda *_, **__: AttentionChoice("varlen"))
    done = trainer(tmp_path / "b", stream, steps=4).run()
    assert done.attention == ("sdpa with a document mask", "varlen")
    assert [r["loss"] for r in rows(tmp_path / "b")] == pytest.approx(
        [r["loss"] for r in rows(tmp_path / "a")], abs=1e-4
    )
    assert load_checkpoint(tmp_path / "b" / CHECKPOINT).progressed == done


def test_precisions_of_older_checkpoints(tmp_path: Path, stream: TokenStream) -> None:
    """One word, or none where it was float32; a run that goes on keeps it."""
    for saved, read in (({"matmul_precision": "bfloat16"}, ("bfloat16",)), ({}, ("float32",))):
        assert from_saved(TrainingState, saved, origin="x").matmul_precisions == read
    assert json.dumps(dataclasses.asdict(TrainingState())["matmul_precisions"]) == "[]"
    stopped: Trainer = trainer(tmp_path / "a", stream, progress=SignalAt(2, signal.SIGTERM), steps=4)
    stopped.state = dataclasses.replace(stopped.state, matmul_precisions=("bfloat16",))
    with pytest.raises(Stopped):
        stopped.run()
    assert trainer(tmp_path / "a", stream, progress=Silent(), steps=4).run().matmul_precisions == (
        "bfloat16",
        "float32",
    )


def test_a_machine_that_cannot_compile() -> None:
    """One sentence with what the compiler said and the way around it."""
    with (
        pytest.raises(BackendError, match=r"no working Triton.*go on without with --set train\.compile=false"),
        compiling(),
    ):
        raise TorchDynamoException("no working\nTriton")
