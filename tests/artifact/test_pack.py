"""What is packed is what is loaded, to the bit, and deterministic."""

import pytest
import torch

from bytecap.artifact.load import loads
from bytecap.artifact.pack import ArtifactConfig
from bytecap.core.digest import digest_bytes
from bytecap.core.errors import ConfigError
from tests.artifact.example import SPEC, example_file, example_model, example_tokenizer


@pytest.mark.parametrize(
    ("compressor", "spread", "embed"), [("brotli", 9, True), ("zstd", 900, True), ("raw", 9, False)]
)
def test_round_trip(compressor: str, spread: int, embed: bool) -> None:
    """Weights are equal to the last bit, narrow and wide; the tokenizer is there if it was embedded."""
    data = example_file(compressor=compressor, spread=spread, embed=embed)
    assert data == example_file(compressor=compressor, spread=spread, embed=embed)
    artifact = loads(data)
    assert artifact.spec == SPEC and artifact.context == 32 and artifact.lossless
    digest = digest_bytes(example_tokenizer())
    assert artifact.made_from == {"recipe": "r", "corpus": "c", "checkpoint": "w", "tokenizer": digest}
    assert artifact.tokenizer == (example_tokenizer() if embed else None)
    expected = example_model(spread).state_dict()
    found = artifact.model().state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_caps_have_units_and_compressors_names() -> None:
    """Caps with units; compressors by name."""
    assert ArtifactConfig(cap_bytes="16MB").budget.file_bytes == 16_000_000
    with pytest.raises(ConfigError, match="must be positive"):
        ArtifactConfig(cap_bytes=0)
    with pytest.raises(ConfigError, match="did you mean brotli"):
        ArtifactConfig(compressor="brotl")
