"""Text of a model's own: as many tokens as asked, from its own distribution, the same for a seed."""

import numpy as np
import pytest
import torch

from bytecap.core.progress import Silent
from bytecap.huggingface.folder import open_folder
from bytecap.huggingface.model import CausalModel, load_folder
from bytecap.huggingface.own_text import write_own_text
from tests.huggingface.models import make_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    """A GPT-2 with random weights."""
    return load_folder(open_folder(make_folder(tmp_path_factory.mktemp("model") / "gpt2", "gpt2")), Silent())


def test_own_text_is_reproducible(model: CausalModel) -> None:
    """Each begins as the config says; the same seed writes the same, and random states are left as they were."""
    state = torch.random.get_rng_state()
    found = write_own_text(model, tokens=2000, context=64, seed=1, progress=Silent())
    assert torch.equal(state, torch.random.get_rng_state())
    ids = found.tokens.read(0, 10**6)
    assert len(ids) == 32 * 64 and (ids.reshape(-1, 64)[:, 0] == 0).all() and found.bytes is None and not found.lost
    again = write_own_text(model, tokens=2000, context=64, seed=1, progress=Silent())
    assert np.array_equal(again.tokens.read(0, 10**6), ids)
    other = write_own_text(model, tokens=2000, context=64, seed=2, progress=Silent())
    assert not np.array_equal(other.tokens.read(0, 10**6), ids)


def test_its_own_distribution(model: CausalModel) -> None:
    """The mean loss of the model on what it wrote is the entropy of its predictions there."""
    found = write_own_text(model, tokens=4096, context=64, seed=0, progress=Silent())
    rows_BT = torch.from_numpy(found.tokens.read(0, 4096)).reshape(-1, 64)
    log_BTV = model.logits(rows_BT).log_softmax(dim=-1)[:, :-1]
    loss_BT = -log_BTV.gather(-1, rows_BT[:, 1:, None])[..., 0]
    entropy_BT = -(log_BTV.exp() * log_BTV).sum(dim=-1)
    spread = float((loss_BT - entropy_BT).std()) / loss_BT.numel() ** 0.5
    assert abs(float((loss_BT - entropy_BT).mean())) < 4 * spread
