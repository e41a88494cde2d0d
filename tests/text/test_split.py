"""The held-out documents are those that the rule in split.py names, found without remembering the others."""

from hypothesis import given
from hypothesis import strategies as st

from bytecap.text.split import choose_validation, document_hash

HASHES = st.integers(0, 2**64 - 1)


def slow_choice(documents: list[tuple[int, int]], fraction: float, max_bytes: int) -> set[int]:
    """The rule word by word: sort by hash, take the longest prefix that fits."""
    by_hash = {h: s for h, s in documents if h < int(fraction * 2**64) and s <= max_bytes // 8}
    chosen, total = set(), 0
    for key in sorted(by_hash):
        if total + by_hash[key] > max_bytes:
            break
        chosen.add(key)
        total += by_hash[key]
    return chosen


@given(st.dictionaries(HASHES, st.integers(1, 60), max_size=60), st.floats(0.0, 1.0), st.integers(1, 400))
def test_equals_the_slow_rule(documents: dict[int, int], fraction: float, max_bytes: int) -> None:
    """Whatever the order and however often a document stands there."""
    rows = list(documents.items())
    expected = slow_choice(rows, fraction, max_bytes)
    assert choose_validation(rows, fraction=fraction, max_bytes=max_bytes) == expected
    assert choose_validation(rows[::-1] + rows, fraction=fraction, max_bytes=max_bytes) == expected


def test_hash_depends_on_content_only() -> None:
    """Equal documents have equal hashes; the value is pinned, because splits depend on it."""
    assert document_hash("abc") == 0xBA7816BF8F01CFEA
