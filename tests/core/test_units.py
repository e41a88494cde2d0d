"""Bits, bytes and sizes."""

import math

import pytest

from bytecap.core.errors import ConfigError
from bytecap.core.units import bits_per_byte, bits_per_weight, counted, parse_bytes


def test_bits_per_byte_and_bits_per_weight() -> None:
    """A uniform byte costs 8 bits per byte; 16,000,000 bytes of 32,000,000 weights are 4 bits each."""
    assert bits_per_byte(1000 * math.log(256), 1000) == pytest.approx(8.0)
    assert bits_per_weight(16_000_000, 32_000_000) == 4.0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("250000", 250_000),
        ("16MB", 16_000_000),
        ("16MiB", 16_777_216),
        ("1.5 kB", 1_500),
        ("1_000", 1000),
        ("2,000", 2000),
        ("2.3kB", 2300),
        ("1GB", 10**9),
        ("1GiB", 2**30),
        ("1TB", 10**12),
        ("1e4", 10_000),
        ("2.5E+1 kB", 25_000),
    ],
)
def test_decimal_and_binary_sizes_are_told_apart(text: str, size: int) -> None:
    """Decimal and binary units are told apart."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "16 mb", "-5", "12XB", "MB", "2,00", "1e", "e6", "1e-3", "1,000,00kB"])
def test_unknown_sizes(text: str) -> None:
    """Anything else is refused with the units there are."""
    with pytest.raises(ConfigError, match="kB, KB, MB, GB, TB, KiB, MiB"):
        parse_bytes(text)


def test_nearly_a_unit() -> None:
    """A unit in other letters is asked about."""
    with pytest.raises(ConfigError, match="did you mean kB"):
        parse_bytes("200kb")
    with pytest.raises(ConfigError, match="did you mean MiB"):
        parse_bytes("16mib")


def test_sizes_beyond_every_file() -> None:
    """A number that no float holds exactly is refused in words."""
    assert parse_bytes("9" * 15) == 10**15 - 1
    for text in ("1" + "0" * 15, "9" * 400 + "MB"):
        with pytest.raises(ConfigError, match="digits is no size of a file"):
            parse_bytes(text)


def test_numbers_with_their_nouns() -> None:
    """One of a thing has no s."""
    assert [counted(n, "name") for n in (0, 1, 2, 1000)] == ["0 names", "1 name", "2 names", "1,000 names"]
    assert [counted(n, "matrix is", "matrices are") for n in (1, 2)] == ["1 matrix is", "2 matrices are"]
