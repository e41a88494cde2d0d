"""Models of published runs have as many parameters as their logs say, at full scale on the meta device."""

import pytest
import torch

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.run.recipe import resolve

UNUSED_LANE_NUMBERS = 48
"""#1586 has six numbers for each of its 11 blocks, and lanes in 3 of them."""


@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [
        ("baseline", 17_059_912),
        ("mixed_int6_int8", 21_778_504),
        ("int5_mlp", 29_191_777),
        ("boundary_int8", 18_897_488),  # about 18.90 million by its text, which gives no count
        ("gradient_guided", 27_618_913),
        ("adaptive_clip", 35_944_602 - UNUSED_LANE_NUMBERS),
    ],
)
def test_published_counts(recipe: str, parameters: int) -> None:
    """The recipe on the contest's track."""
    resolved = resolve(recipe, track="contest_16mb")
    with torch.device("meta"):
        model = GPT(ModelSpec.of(resolved.model, resolved.text.vocab_size))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
