"""Each row's gradient is that of its own mean loss."""

from pathlib import Path

import torch

from bytecap.scoring.gradients import row_gradients
from bytecap.scoring.ledger import Chunk, Ledger
from tests.scoring.test_evaluate import TABLE, random_ids, stream_of


def test_each_row_has_the_gradient_of_its_own_mean_loss(tmp_path: Path) -> None:
    """Two rows, of which one is padded; a parameter without a part in the loss."""
    stream = stream_of(tmp_path, random_ids(40))
    logits_BTV, unused = torch.randn(2, 6, 50, requires_grad=True), torch.zeros(2, requires_grad=True)
    graph_BTV = logits_BTV.log_softmax(dim=-1)
    scored = Ledger(stream, TABLE, 1).commit(Chunk((0, 10), (6, 4)), graph_BTV).with_graph(graph_BTV)
    found_BTV, nothing = row_gradients(scored, [logits_BTV, unused])
    assert torch.equal(nothing, torch.zeros(2))
    for row, count in ((0, 6), (1, 4)):
        alone_TV = logits_BTV[row].detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(alone_TV[:count], scored.targets_BT[row, :count])
        (expected_TV,) = torch.autograd.grad(loss, [alone_TV])
        assert torch.allclose(found_BTV[row], expected_TV, atol=1e-7)
