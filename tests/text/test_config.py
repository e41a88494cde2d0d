"""Numbers of the text settings that cannot be are refused where they are written."""

import math
from typing import Any

import pytest

from bytecap.core.errors import ConfigError
from bytecap.text.config import TextConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shard_tokens", 0), ("shard_tokens", 1 << 31), ("document_length", -5), ("document_length", 0),
        ("validation_fraction", math.nan), ("validation_fraction", 1.5), ("validation_fraction", -math.inf),
        ("validation_bytes", -1), ("vocab_size", 260), ("vocab_size", 65_537), ("tokenizer_sample_bytes", 0),
        ("tokenizer_sample_bytes", 10**30),
    ],
)  # fmt: skip
def test_impossible_numbers(name: str, value: Any) -> None:
    """Each is named, with what it must be."""
    with pytest.raises(ConfigError, match=rf"{name} is .*; it must"):
        TextConfig(**{name: value})
