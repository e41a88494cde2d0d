"""What a digest of settings covers; round trips are in tests/core/test_settings.py."""

from typing import Any

from bytecap.core.settings_writer import digest_settings, to_canonical
from tests.core.test_settings import Config


def test_what_a_digest_covers() -> None:
    """Not summaries, not defaults; but the order of a table."""
    assert digest_settings(Config(vocab=5)) == digest_settings(Config(vocab=5, summary="x", folder="y", width=8))
    one: dict[str, Any] = {"a": {}, "b": {}}
    other: dict[str, Any] = {"b": {}, "a": {}}
    assert digest_settings(Config(vocab=5, tables=one)) != digest_settings(Config(vocab=5, tables=other))
    assert to_canonical(Config(vocab=5, tables=one)) == {"vocab": 5, "tables": [["a", []], ["b", []]]}
