"""The loss is weighed by what the text before each window tells; what cannot be counted is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.model.gpt import GPT
from bytecap.model.mean_loss import mean_loss
from bytecap.text.batches import TrainBatches
from bytecap.text.shards import TokenStream
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.context import ContextConfig, ShortContext
from bytecap.train.hooks.document_mixture import DocumentMixture, DocumentMixtureConfig
from tests.contracts.hooks import MODEL, build_job
from tests.train.test_document_ngrams import slow_mixture
from tests.train.test_loop import stream

assert stream  # a fixture


def test_places_are_those_of_the_rows(stream: TokenStream) -> None:
    """Each target's numbers are those of the text from `reach` before its window on."""
    hook = DocumentMixture(DocumentMixtureConfig(reach=20, strength=0.5), torch.nn.Linear(1, 1))
    hook.prepare(build_job(stream, None))
    batches = TrainBatches(stream, batch=3, context=16, seed=0, position=5)
    rows_BT = batches.next()
    found = hook.mixture(batches.starts, 0.0)
    expected = []
    for start, row_T in zip(batches.starts, rows_BT, strict=True):
        begin = max(0, start - 20)
        token_L = stream.read(begin, start - begin + 17)
        assert token_L[-17:].tolist() == row_T.tolist()
        # of a document that began earlier nothing is known, so its first tokens here are told apart from any BOS
        expected += [slow_mixture(np.where(token_L == 1, 0, token_L), len(token_L) - 16 + t) for t in range(16)]
    np.testing.assert_allclose(torch.stack(found[:2], dim=1), expected, atol=1e-6)
    assert found.strength == 0.5


def test_gradients_of_the_mixtures_loss(stream: TokenStream) -> None:
    """With strength 1 those of -log(a p + m); the loss that is shown stays the model's own."""
    torch.manual_seed(0)
    model = GPT(MODEL)
    hook = DocumentMixture(DocumentMixtureConfig(strength=1.0), model)
    hook.prepare(build_job(stream, None))
    batches = TrainBatches(stream, batch=2, context=16, seed=0)
    rows_BT = torch.from_numpy(batches.next())
    mixture = hook.mixture(batches.starts, 0.0)
    tokens_BT, target_BT = rows_BT[:, :-1], rows_BT[:, 1:]
    loss = mean_loss(model, tokens_BT, target_BT, 1, mixture=mixture)
    assert loss.item() == pytest.approx(mean_loss(model, tokens_BT, target_BT, 1).item(), rel=1e-6)
    log_p_N = model.logits(model.hidden(tokens_BT, 1)).log_softmax(dim=-1).gather(-1, target_BT[..., None]).flatten()
    mixed = -(mixture.share_N * log_p_N.exp() + mixture.added_N).log().mean()
    parameters = list(model.parameters())
    expected = torch.autograd.grad(mixed, parameters, allow_unused=True, materialize_grads=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-3)


def test_rows_that_are_cut_keep_their_targets_in_order() -> None:
    """So each stays beside its own numbers."""
    rows_BT = torch.arange(4 * 17).view(4, 17)
    hook = ShortContext(ContextConfig(start=0.9, before=4), torch.nn.Linear(1, 1))
    hook.positions = 4
    assert torch.equal(hook.rows(rows_BT, 0.0)[:, 1:].flatten(), rows_BT[:, 1:].flatten())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"strength": 0.0}, "strength is 0.0"), ({"strength": 1.5}, "strength is 1.5"), ({"reach": -1}, "reach is -1")],
)
def test_impossible_strengths_and_short_texts_are_refused(settings: dict[str, Any], message: str) -> None:
    """A strength that changes nothing or is beyond the mixture's own loss, and a text behind the window."""
    config = TrainConfig(hooks={"document_mixture": DocumentMixtureConfig(**settings)})
    with pytest.raises(ConfigError, match=rf"train\.hooks\.document_mixture: {message}; it must lie between"):
        config.check_hooks(MODEL)
