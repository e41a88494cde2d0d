"""Digests follow the value, not its spelling."""

from bytecap.core.digest import digest_bytes, digest_json


def test_digests_are_pinned() -> None:
    """Pinned, since saved products carry them."""
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 2})
    assert digest_bytes(b"abc") == "ba7816bf8f01cfea"
