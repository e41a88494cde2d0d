"""Side by side, the lanes do what one slow coder after another would do."""

import numpy as np
import pytest

from bytecap.coding.lanes import LOWEST, LaneDecoder, LaneEncoder
from bytecap.coding.tables import PRECISION, TOTAL
from bytecap.core.errors import FormatError

SIZE = np.array([[9000, 5000, 2000, 384], [1, 1, 16000, 382]])
START = np.cumsum(SIZE, axis=1) - SIZE


def encode_lanes(start: np.ndarray, frequency: np.ndarray, steps: np.ndarray, lanes: int) -> bytes:
    """In two parts, the last first."""
    encoder, half = LaneEncoder(lanes), len(steps) // 2
    first = int(steps[:half].sum())
    encoder.add(start[first:], frequency[first:], steps[half:])
    encoder.add(start[:first], frequency[:first], steps[:half])
    return encoder.finish()


def tokens_and_contexts(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    contexts = rng.integers(0, 2, count)
    return np.array([rng.choice(4, p=SIZE[c] / TOTAL) for c in contexts]), contexts


def slow_encode(tokens: np.ndarray, contexts: np.ndarray, steps: list[int], lanes: int) -> bytes:
    """One token at a time with Python's own integers, last step first."""
    stream: list[int] = []
    states, end = [LOWEST] * lanes, len(tokens)
    for count in reversed(steps):
        words = []
        for lane in range(count):
            size = int(SIZE[contexts[end - count + lane], tokens[end - count + lane]])
            if states[lane] >= size << (32 - PRECISION):
                words.append(states[lane] & 0xFFFF)
                states[lane] >>= 16
        for lane in range(count):
            c, t = contexts[end - count + lane], tokens[end - count + lane]
            size, start = int(SIZE[c, t]), int(START[c, t])
            states[lane] = (states[lane] // size << PRECISION) + states[lane] % size + start
        stream = words + stream
        end -= count
    return b"".join(s.to_bytes(4, "little") for s in states) + b"".join(w.to_bytes(2, "little") for w in stream)


@pytest.mark.parametrize(("count", "lanes"), [(500, 1), (501, 4), (64, 64)])
def test_against_the_slow_coder(count: int, lanes: int) -> None:
    """Equal bytes, and the decoder gives back the tokens."""
    tokens, contexts = tokens_and_contexts(count)
    whole, rest = divmod(count, lanes)
    steps = [lanes] * whole + [rest] * (rest > 0)
    data = encode_lanes(START[contexts, tokens], SIZE[contexts, tokens], np.array(steps), lanes)
    assert data == slow_encode(tokens, contexts, steps, lanes)
    decoder, found, begin = LaneDecoder(data, lanes, START, SIZE), [], 0
    for step in steps:
        found += decoder.step(contexts[begin : begin + step]).tolist()
        begin += step
    decoder.finish()
    assert found == tokens.tolist()


def test_pinned_bytes_still_decode() -> None:
    """Bytes written once decode for ever."""
    tokens, contexts = tokens_and_contexts(24, seed=7)
    data = encode_lanes(START[contexts, tokens], SIZE[contexts, tokens], np.full(12, 2), 2)
    assert data.hex() == "1c0b4d292401af03"


def test_near_entropy() -> None:
    """20,000 tokens take at most 0.1 % more than their information, and the states."""
    tokens, contexts = tokens_and_contexts(20_000)
    information = -np.log2(SIZE[contexts, tokens] / TOTAL).sum() / 8
    data = encode_lanes(START[contexts, tokens], SIZE[contexts, tokens], np.full(5000, 4), 4)
    assert len(data) < 1.001 * information + 4 * 4


def test_cut_and_changed() -> None:
    """A short stream, one with words left over, and one that ends elsewhere."""
    tokens, contexts = tokens_and_contexts(300)
    data = encode_lanes(START[contexts, tokens], SIZE[contexts, tokens], np.full(150, 2), 2)

    def decode(stream: bytes) -> None:
        decoder = LaneDecoder(stream, 2, START, SIZE)
        for i in range(150):
            decoder.step(contexts[2 * i : 2 * i + 2])
        decoder.finish()

    decode(data)
    for broken in (data[:6], data[:-2], data + b"\0\0", data[:8] + b"\1" + data[9:], data[:-1]):
        with pytest.raises(FormatError):
            decode(broken)
