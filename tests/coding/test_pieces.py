"""A tokenizer's file comes back to the byte, smaller behind a compressor; what is written otherwise is left alone."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.coding.general import compress
from bytecap.coding.pieces import check_texts, from_columns, to_columns
from bytecap.core.errors import FormatError
from tests.artifact.example import example_tokenizer


def varint(value: int) -> bytes:
    return varint_tail(value) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def varint_tail(value: int) -> bytes:
    return bytes([value])


def message(text: bytes, score: float, kind: int) -> bytes:
    """A piece as SentencePiece writes it."""
    body = b"\n" + varint(len(text)) + text + b"\x15" + struct.pack("<f", score)
    body += bytes([0x18, kind]) if kind else b""
    return b"\n" + varint(len(body)) + body


def test_a_real_file() -> None:
    """Exactly the same bytes, a fifth fewer of them behind brotli."""
    data = example_tokenizer()
    columns = to_columns(data)
    assert columns is not None and from_columns(columns) == data
    assert len(compress("brotli", columns)) < 0.8 * len(compress("brotli", data))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=300).filter(lambda text: b"\0" not in text),
            st.one_of(
                st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-4000, 4000), st.just(-0.0)
            ),
            st.integers(0, 6),
        ),
        max_size=20,
    ),
    st.binary(max_size=30),
)
def test_any_pieces(pieces: list[tuple[bytes, float, int]], rest: bytes) -> None:
    """Long texts, any score, negative zero, any rest: back to the byte, or not taken."""
    data = b"".join(message(*piece) for piece in pieces) + rest
    columns = to_columns(data)
    assert columns is None or from_columns(columns) == data
    if pieces and not rest.startswith(b"\n"):
        assert columns is not None


@pytest.mark.parametrize("data", [b"", b"hello", message(b"a\0b", 1.0, 0), b"\n\x03abc", message(b"a", 1.0, 0)[:-1]])
def test_other_files_are_left_alone(data: bytes) -> None:
    """No columns."""
    assert to_columns(data) is None


def test_forged_columns() -> None:
    """A sentence."""
    good = to_columns(message(b"abc", 1.0, 3) + b"rest")
    assert good is not None
    with_text = good[:4] + struct.pack("<I", 5) + good[8:13] + b"x" + good[13:]
    for bad in (
        good[:5],
        good[:12],
        good[:8] + b"\7" + good[9:],
        with_text,
        struct.pack("<I", 1 << 30) + good[4:],
        struct.pack("<I", 0) + good[4:],
    ):
        with pytest.raises(FormatError, match="the tokenizer's columns"):
            from_columns(bad)


def test_texts_are_utf8() -> None:
    """Real files pass, also in another order of fields; what is not UTF-8 or no protocol buffer does not."""
    good = example_tokenizer()
    check_texts(good)
    check_texts(b"")
    swapped = b"\x15" + struct.pack("<f", 1.0) + b"\x18\x02" + b"\n\x01a"
    check_texts(b"\n" + varint(len(swapped)) + swapped + good)
    for wrong, message_ in (
        (message(b"\xff", 0.0, 0), "not UTF-8"),
        (good + message(b"ok\xc3", 0.0, 3), "not UTF-8"),
        (b"\n" + varint(8) + b"\x18\x02" + b"\n\x02\xfe\xff" + b"\x18\x01", "not UTF-8"),
        (good[:-3], "cut short"),
        (b"\x0f\x0f", "not a SentencePiece model"),
        (b"\n\xff\xff\xff\xff\x0f", "cut short"),
    ):
        with pytest.raises(FormatError, match=message_):
            check_texts(wrong)
