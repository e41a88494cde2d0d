"""Integers as tokens of a small alphabet and a few extra bits for the large ones.

A magnitude below 16 is its own token; above, a token names its octave, its quarter of the octave and its parity, and
the bits between are sent as they are. Tokens carry the sign: 0, then +1, -1, +2, -2 and so on.

Source:  the hybrid integers of JPEG XL (ISO/IEC 18181-1), split at 16. Differs: the parity is in the token, because it
         drives the trellis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DIRECT = 16
MAGNITUDES = DIRECT + 8 * 11
"""Magnitude tokens: enough for 32,767."""
TOKENS = 2 * MAGNITUDES - 1

Ints = npt.NDArray[np.int64]


def magnitude_tokens(magnitudes: npt.NDArray[np.integer]) -> Ints:
    """Token of each magnitude, 0 to 32,767."""
    tokens: Ints = _TOKEN_OF[magnitudes]
    return tokens


def to_tokens(symbols: npt.NDArray[np.int16]) -> Ints:
    """Signed token of each symbol, flat."""
    wide = symbols.reshape(-1).astype(np.int64)
    tokens = _TOKEN_OF[np.abs(wide)]
    return np.where(tokens > 0, 2 * tokens - (wide > 0), 0)


def extra_bits(symbols: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """The middle bits of all large magnitudes as one array of 0 and 1, highest bit first."""
    magnitudes = np.abs(symbols.reshape(-1).astype(np.int64))
    magnitudes = magnitudes[magnitudes >= DIRECT]
    widths = _WIDTH[_TOKEN_OF[magnitudes]]
    places = _places(widths)
    return ((np.repeat(magnitudes >> 1, widths) >> places) & 1).astype(np.uint8)


def extra_count(tokens: npt.NDArray[np.integer]) -> int:
    """Number of extra bits behind signed tokens."""
    return int(_WIDTH[(tokens + 1) >> 1].sum())


def from_tokens(tokens: npt.NDArray[np.integer], bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """The symbols back, flat; `bits` has exactly `extra_count(tokens)` entries."""
    magnitude_token = (tokens + 1) >> 1
    magnitudes = _LEAST[magnitude_token]
    widths = _WIDTH[magnitude_token]
    owner = np.repeat(np.arange(tokens.size), widths)
    np.add.at(magnitudes, owner, bits.astype(np.int64) << (_places(widths) + 1))
    negative = (tokens > 0) & (tokens % 2 == 0)
    symbols: npt.NDArray[np.int16] = np.where(negative, -magnitudes, magnitudes).astype(np.int16)
    return symbols


def _places(widths: Ints) -> Ints:
    """For every extra bit its place in its integer: widths 2, 1 give 1, 0, 0."""
    ends = np.repeat(np.cumsum(widths), widths)
    return ends - 1 - np.arange(ends.size)


def _tables() -> tuple[Ints, Ints, Ints]:
    """Token of each magnitude, extra bits of each token, least magnitude of each token."""
    tokens: list[int] = []
    least: dict[int, int] = {}
    for magnitude in range(1 << 15):
        octave = magnitude.bit_length() - 1
        quarter = (magnitude >> (octave - 2)) & 3 if magnitude >= DIRECT else 0
        token = magnitude if magnitude < DIRECT else DIRECT + 8 * (octave - 4) + 2 * quarter + (magnitude & 1)
        tokens.append(token)
        least.setdefault(token, magnitude)
    widths = [0 if token < DIRECT else (token - DIRECT) // 8 + 1 for token in range(MAGNITUDES)]
    return np.array(tokens), np.array(widths), np.array([least[token] for token in range(MAGNITUDES)])


_TOKEN_OF, _WIDTH, _LEAST = _tables()
EXTRA_WIDTHS = _WIDTH
"""Extra bits behind each magnitude token."""
