"""A checkpoint gives back model, optimizer and clock, or says what is wrong with it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from bytecap.core.errors import BackendError, DataError
from bytecap.model.gpt import GPT
from bytecap.train.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    TrainingState,
    load_checkpoint,
    load_training_state,
    open_tensors,
    save_checkpoint,
)
from bytecap.train.optimizers import OptimizerConfig, Optimizers
from tests.model.test_gpt import SPEC


def trained(steps: int) -> tuple[GPT, Optimizers]:
    torch.manual_seed(0)
    model = GPT(SPEC)
    optimizers = Optimizers(model, OptimizerConfig())
    continue_training(model, optimizers, range(steps))
    return model, optimizers


def continue_training(model: GPT, optimizers: Optimizers, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        rows_BT = torch.randint(2, 50, (2, 9), generator=generator)
        model(rows_BT[:, :-1], rows_BT[:, 1:], 1).mean().backward()
        optimizers.step(step / 10)


def saved_model(model: GPT, progressed: TrainingState, **more: Any) -> Checkpoint:
    about = {"spec": SPEC, "made_from": "x", "tokens": "t", "context": 16, "progressed": progressed}
    return Checkpoint(**about, weights=model.state_dict(), **more)  # type: ignore[arg-type]


def same(one: GPT, other: GPT) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_continuing_equals_not_stopping(tmp_path: Path) -> None:
    """Three steps, saved, loaded, three more: the same weights as six in a row, to the bit."""
    path = tmp_path / "checkpoint.safetensors"
    model, optimizers = trained(3)
    progressed = TrainingState(step=3, seconds=1.5, tokens=48, position=6, loss=2.0)
    save_checkpoint(path, saved_model(model, progressed, optimizer=optimizers.state_tensors()))
    saved = load_checkpoint(path)
    assert (saved.spec, saved.made_from, saved.progressed) == (SPEC, "x", progressed)
    resumed = saved.model()
    again = Optimizers(resumed, OptimizerConfig())
    again.load_state_tensors(saved.optimizer)
    continue_training(resumed, again, range(3, 6))
    straight, _ = trained(6)
    assert same(resumed, straight) and not same(resumed, model)


def test_full_disk_keeps_the_previous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving into a full disk is an error; the checkpoint before it still loads."""
    path = tmp_path / "checkpoint.safetensors"
    model, _ = trained(1)
    save_checkpoint(path, saved_model(model, TrainingState(step=1)))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BackendError, match="disk is full; what was there before is intact"):
            save_checkpoint(path, saved_model(model, TrainingState(step=2)))
    assert load_checkpoint(path).progressed.step == 1
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_and_foreign(tmp_path: Path) -> None:
    """Missing, cut, and not ours: each says what to do."""
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(DataError, match="does not exist; run `bytecap train`"):
        load_checkpoint(path)
    model, _ = trained(1)
    save_checkpoint(path, saved_model(model, TrainingState()))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="not a checkpoint of this program"):
        load_checkpoint(path)


def test_one_changed_bit_is_seen(tmp_path: Path) -> None:
    """In any tensor, whatever its type, and in what is said about it."""
    model, path = GPT(SPEC), tmp_path / CHECKPOINT
    state = {"a/x": torch.zeros(3, dtype=torch.bfloat16), "a/step": torch.tensor(7), "b/empty": torch.zeros(0)}
    save_checkpoint(path, saved_model(model, TrainingState(step=41, loss=1.5), optimizer=state))
    assert load_checkpoint(path).digest is not None and load_training_state(path) == TrainingState(step=41, loss=1.5)
    data = path.read_bytes()
    inside = range(len(data) - 1, 8 + int.from_bytes(data[:8], "little"), -997)
    damaged = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in inside]
    for changed in (*damaged, data.replace(b'\\"step\\": 41', b'\\"step\\": 40')):
        assert changed != data
        path.write_bytes(changed)
        with pytest.raises(DataError, match="is damaged: its digest says that it was changed after it was written"):
            load_checkpoint(path)


def test_a_checkpoint_of_version_0_1_0_has_no_digest(tmp_path: Path) -> None:
    """It opens, and says that nothing was checked."""
    model, path = GPT(SPEC), tmp_path / CHECKPOINT
    save_checkpoint(path, saved_model(model, TrainingState()))
    with safetensors.safe_open(path, framework="pt") as file:
        about = file.metadata()["bytecap"]
    save_file(load_file(path), path, metadata={"bytecap": about})
    assert load_checkpoint(path).digest is None


def test_no_json_in_the_metadata(tmp_path: Path) -> None:
    """Other people's tensors and endless nesting are refused in one sentence, by both readers."""
    path = tmp_path / CHECKPOINT
    for metadata in (None, {"bytecap": "[" * 100_000}, {"bytecap": "[]"}, {"bytecap": "{}"}, {"bytecap": "1"}):
        save_file({"a": torch.zeros(1)}, path, metadata=metadata)
        for read in (load_checkpoint, load_training_state):
            with pytest.raises(DataError, match="is not a checkpoint of this program"):
                read(path)


def test_a_file_that_is_cut_short_while_it_is_read(tmp_path: Path) -> None:
    """Is an error, where a mapped file would end the process; what was read before stays."""
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(5), "b": torch.ones(5000)}, path)
    with open_tensors(path) as file:
        first = file.get_tensor("a")
        os.truncate(path, 1000)
        with pytest.raises((OSError, safetensors.SafetensorError)):
            file.get_tensor("b")
    assert first.tolist() == [1.0] * 5
