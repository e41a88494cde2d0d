"""Models of published runs have as many parameters as their logs say, at full scale on the meta device."""

import pytest
import torch

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import with_defaults

BASE = ("unet_skips", "residual_mix")
UNUSED_LANE_NUMBERS = 48
"""#1586 has six numbers for each of its 11 blocks, and lanes in 3 of them."""


@pytest.mark.parametrize(
    ("run", "shape", "techniques", "parameters"),
    [
        ("baseline", (1024, 9, 1024), BASE, 17_059_912),
        ("#65", (1024, 9, 1536), BASE, 21_778_504),
        ("#219", (1024, 12, 1536), (*BASE, "smear_gate", "bigram_hash"), 29_191_777),
        ("#332", (1024, 12, 1408), (*BASE, "smear_gate", "bigram_hash", "xsa"), 27_618_913),
        (
            "#1586",
            (8192, 11, 2048),
            ("gated_skips", "residual_mix", "depth_recurrence", "parallel_lanes", "xsa"),
            35_944_602 - UNUSED_LANE_NUMBERS,
        ),
    ],
)
def test_published_counts(run: str, shape: tuple[int, int, int], techniques: tuple[str, ...], parameters: int) -> None:
    """Vocabulary, blocks and width of the MLP as published; the rest are defaults."""
    vocab_size, n_layers, d_ff = shape
    spec = ModelSpec(vocab_size=vocab_size, n_layers=n_layers, d_ff=d_ff, techniques=with_defaults(*techniques))
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in GPT(spec).parameters()) == parameters, run
