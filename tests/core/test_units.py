"""Bits, bytes and sizes."""

import math

import pytest

from bytecap.core.errors import ConfigError
from bytecap.core.units import bits_per_byte, bits_per_weight, parse_bytes


def test_conversions() -> None:
    """A uniform byte costs 8 bits per byte; 16,000,000 bytes of 32,000,000 weights are 4 bits each."""
    assert bits_per_byte(1000 * math.log(256), 1000) == pytest.approx(8.0)
    assert bits_per_weight(16_000_000, 32_000_000) == 4.0


@pytest.mark.parametrize(
    ("text", "size"),
    [("250000", 250_000), ("16MB", 16_000_000), ("16MiB", 16_777_216), ("1.5 kB", 1_500), ("1_000", 1000)],
)
def test_sizes(text: str, size: int) -> None:
    """Decimal and binary units are told apart."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "16 mb", "-5", "12XB", "MB"])
def test_unknown_sizes(text: str) -> None:
    """Anything else is refused with the units there are."""
    with pytest.raises(ConfigError, match="kB, KB, MB, KiB, MiB"):
        parse_bytes(text)
