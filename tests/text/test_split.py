"""The held-out documents are those that the rule in split.py names, found without remembering the others."""

from hypothesis import given
from hypothesis import strategies as st

from bytecap.text.split import choose_validation, document_hash

HASHES = st.integers(0, 2**64 - 1)


def slow_choice(documents: list[tuple[int, int]], fraction: float, max_bytes: int) -> set[int]:
    """The rule word by word: sort by hash, take the longest prefix that fits, at least one."""
    short = {h: s for h, s in documents if s <= max_bytes // 8}
    room = min(max_bytes, fraction * sum(s for _, s in documents))
    chosen: set[int] = set()
    total = 0
    for key in sorted(short):
        if chosen and total + short[key] > room:
            break
        chosen.add(key)
        total += short[key]
    return chosen


@given(st.dictionaries(HASHES, st.integers(1, 60), max_size=60), st.floats(0.0, 1.0), st.integers(1, 400))
def test_equals_the_slow_rule(documents: dict[int, int], fraction: float, max_bytes: int) -> None:
    """Whatever the order and however often a document stands there."""
    for rows in (list(documents.items()), list(documents.items())[::-1] + list(documents.items())):
        expected = slow_choice(rows, fraction, max_bytes)
        assert choose_validation(rows, fraction=fraction, max_bytes=max_bytes) == expected


def test_hash_depends_on_content_only() -> None:
    """Equal documents have equal hashes; the value is pinned, because splits depend on it."""
    assert document_hash("abc") == 0xBA7816BF8F01CFEA
