"""Pairs and blocks say the same; nothing is said where everything before is seen."""

from typing import Any

import pytest
import torch

from bytecap.core.products import suits
from bytecap.model import attention_blocks
from bytecap.model.attention_mask import AttentionMask, Visible, attention_mask


@pytest.mark.skipif(not suits(torch.ones(1, 1)), reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("reach", [None, 3, 40])
def test_pairs_and_blocks_agree(isolated: bool, reach: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair, from the definition."""
    document_BS = (torch.rand(2, 21, generator=torch.Generator().manual_seed(0)) < 0.2).cumsum(1)
    about: dict[str, Any] = {"queries": 9, "d_head": 4, "visible": Visible(isolated, reach)}
    pairs_B1TS = attention_mask(document_BS, torch.zeros(1), **about).pairs_B1TS
    monkeypatch.setattr(attention_blocks, "_MIN_SIZE", 1)
    blocks = attention_mask(document_BS, torch.zeros(1), **about).blocks
    assert pairs_B1TS is not None and blocks is not None
    for block in blocks:
        for query in range(block.begin, block.end):
            for key in range(21):
                seen = key <= query and (reach is None or key > query - reach)
                if isolated:
                    seen = seen and bool(document_BS[block.sequence, key] == document_BS[block.sequence, query])
                assert pairs_B1TS[block.sequence if isolated else 0, 0, query - 12, key] == seen
                inside = block.start <= key < block.end
                hidden_RL = block.hidden_RL
                if hidden_RL is None:  # all of the block's keys up to the query
                    assert seen == (inside and key <= query)
                else:
                    assert seen == (inside and bool(hidden_RL[query - block.begin, key - block.start] == 0))


def test_the_mask_is_none_where_everything_before_is_seen() -> None:
    """Plain causal attention has a path of its own."""
    weight = torch.zeros(1)
    about: dict[str, Any] = {"queries": 5, "d_head": 2}
    seen, near = Visible(isolated=False), Visible(isolated=False, reach=5)
    assert attention_mask(torch.zeros(1, 5, dtype=torch.long), weight, visible=seen, **about) == AttentionMask()
    assert attention_mask(torch.zeros(1, 5, dtype=torch.long), weight, visible=near, **about) == AttentionMask()
    assert attention_mask(torch.zeros(1, 6, dtype=torch.long), weight, visible=seen, **about).pairs_B1TS is not None
