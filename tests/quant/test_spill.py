"""What is spilled to files is the same to the bit, and its memory can be given back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from bytecap.core.errors import BackendError
from bytecap.quant.spill import is_spilling, keep, release, spilling, zeros


@dataclass(frozen=True)
class Held:
    large: np.ndarray
    small: np.ndarray
    number: float
    parts: tuple["Held", ...] = ()


def test_large_arrays_go_to_files_and_come_back() -> None:
    """Only within `spilling`, only large ones, in parts too; released and read again."""
    rng = np.random.default_rng(0)
    inner = Held(rng.random((200, 200)), np.ones(3), 2.0)
    held = Held(rng.random((300, 100)), np.ones(4), 1.0, (inner,))
    assert keep(held) is held and not is_spilling()
    with spilling():
        found = keep(held)
        assert isinstance(found.large, np.memmap) and isinstance(found.parts[0].large, np.memmap)
        assert not isinstance(found.small, np.memmap) and found.number == 1.0
        for _ in range(2):
            assert np.array_equal(found.large, held.large) and np.array_equal(found.parts[0].large, inner.large)
            release(found)
    with spilling(wanted=False):
        assert not is_spilling()


def test_sums_in_a_file_keep_what_was_added() -> None:
    """Also after their pages were given back."""
    with spilling():
        sums, file = zeros((200, 200), torch.device("cpu"))
        for _ in range(3):
            sums.add_(1.0)
            release((file, None))
        assert (sums == 3.0).all()
        assert zeros((3, 3), torch.device("cpu"))[1] is None
    assert zeros((200, 200), torch.device("cpu"))[1] is None


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Is said before anything is written to it, not by a signal that ends the process."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with spilling(), pytest.raises(BackendError, match="no room for 80,000 bytes"):
        keep(Held(np.zeros((100, 100)), np.ones(1), 0.0))
