"""A second reader, written from docs/artifact_format.md alone: slow, plain, and equal to the last bit."""

import itertools
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from bytecap.artifact.load import loads
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.formats.tensor import QuantizedModel
from tests.artifact.example import ABOUT, example_file
from tests.formats.examples import EXAMPLES, shapes_of

M = [8388608, 9975792, 11863283, 14107901]
N = [1024, 1117, 1218, 1328, 1448, 1579, 1722, 1878]
H = {4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10), 64: (0o103, 0o24)}
H |= {128: (0o235, 0o126), 256: (0o515, 0o362)}


class Adaptive:
    """An adaptive stream."""

    def __init__(self, data: bytes) -> None:
        self.bytes = itertools.chain(data, itertools.repeat(0))
        self.code, self.range = int.from_bytes(bytes(self.take(4)), "big"), 2**32 - 1
        self.contexts: dict[tuple[int, int], list[int]] = {}
        self.earlier: list[list[int]] = []

    def take(self, count: int) -> list[int]:
        return list(itertools.islice(self.bytes, count))

    def decision(self, s: int, place: int) -> int:
        p, n = self.contexts.get((s, place), [32768, 0])
        bound = self.range // 2**16 * p
        bit = int(self.code >= bound)
        self.code, self.range = (self.code - bound, self.range - bound) if bit else (self.code, bound)
        p += ((0 if bit else 65536) - p) // (n + 2)
        self.contexts[s, place] = [min(max(p, 64), 65472), min(n + 1, 60)]
        while self.range < 2**24:
            self.code, self.range = (256 * self.code + self.take(1)[0]) % 2**32, 256 * self.range
        return bit

    def integer(self, s: int) -> int:
        magnitude = 0
        while magnitude < 24 and self.decision(s, magnitude):
            magnitude += 1
        if magnitude == 24:
            length = next(n for n in itertools.count() if not self.decision(s, 100 + n))
            v = 1
            for place in range(length - 1, -1, -1):
                v = 2 * v + self.decision(s, 200 + place)
            magnitude = 23 + v
        return -magnitude if magnitude and self.decision(s, 300) else magnitude

    def array(self, size: int) -> list[int]:
        way, quarters, middle, spread = (self.integer(1000 + place) for place in range(4))
        values = [self.integer(spread) + middle for _ in range(size)]
        if way == 1:
            values = list(itertools.accumulate(values))
        elif way >= 2:
            like = [one for one in self.earlier[::-1] if len(one) == size][way - 2]
            values = [a + (quarters * b + 2) // 4 for a, b in zip(values, like, strict=True)]
        self.earlier.append(values)
        return values


def following(states: int, s: int, b: int) -> int:
    """next[s][b]."""
    if states == 1:
        return 0
    (h0, h1), v, found = H[states], states.bit_length() - 1, 0
    for i in range(1, v + 1):
        bit = ((s >> i & 1) if i < v else 0) ^ (h0 >> i & s & 1) ^ (h1 >> i & b & 1)
        found |= bit << (i - 1)
    return found


def frequencies(codes: list[int]) -> list[int]:
    """Of the 104 magnitude tokens of one context."""
    if not any(codes):
        codes = [1] + [0] * 103
    w = [N[(c - 1) % 8] * 2 ** ((c - 1) // 8) if c else 0 for c in codes]
    whole = w[0] + 2 * sum(w[1:])
    f = [max(x * 2**14 // whole, 1) if x else 0 for x in w]
    e = 2**14 - f[0] - 2 * sum(f[1:])
    t = f.index(max(f))
    if t:
        f[t] += e // 2
        f[0] += e % 2
    else:
        f[0] += e
    assert min(f) >= 0
    return f


def read_blocks(data: bytes, tensors: list[dict[str, Any]]) -> None:
    """Puts `integers` and `cosets` into each tensor."""
    K, m, tables, lanes, extra = struct.unpack_from("<HBIII", data)
    assert len(data) == 15 + tables + lanes + extra
    stream = Adaptive(data[15 : 15 + tables])
    lengths = stream.array(2 * -(-85 // 2**m))
    codes = iter(stream.array(sum(lengths)))
    table = []
    for length in lengths:
        f = frequencies([next(codes) for _ in range(length)] + [0] * (104 - length))
        table.append(list(itertools.accumulate([0] + [f[(t + 1) // 2] for t in range(207)])))
    begin = 15 + tables
    x = list(struct.unpack_from(f"<{K}I", data, begin))
    words = iter(struct.unpack_from(f"<{(lanes - 4 * K) // 2}H", data, begin + 4 * K))
    bits = iter(f"{byte:08b}"[i] for byte in data[begin + lanes :] for i in range(8))
    for one in tensors:
        rows, columns = as_matrix(one)
        state, tokens = [0] * columns, []
        one["cosets"] = []
        for o in range(rows):
            one["cosets"].append([s % 2 for s in state])
            row: list[int] = []
            for i in range(columns):
                j = i % K
                kind = min(max(one["rows"][o] + one["columns"][i], -28), 56) + 28
                starts = table[2 * (kind >> m) + state[i] % 2]
                slot = x[j] % 2**14
                token = next(t for t in range(207) if starts[t] <= slot < starts[t + 1])
                x[j] = (starts[token + 1] - starts[token]) * (x[j] // 2**14) + slot - starts[token]
                if x[j] < 2**16:
                    x[j] = 2**16 * x[j] + next(words)
                row.append(token)
            state = [following(one["detail"] % 1024, s, (t + 1) // 2 % 2) for s, t in zip(state, row, strict=True)]
            tokens.append(row)
        one["tokens"] = tokens
    assert set(x) == {2**16} and next(words, None) is None
    for one in tensors:
        one["integers"] = [[integer(token, bits) for token in row] for row in one["tokens"]]
    assert set(bits) <= {"0"}


def integer(token: int, bits: Any) -> int:
    t = (token + 1) // 2
    magnitude = t
    if t >= 16:
        k, q, p = (t - 16) // 8 + 4, (t - 16) % 8 // 2, t % 2
        middle = int("".join(next(bits) for _ in range(k - 3)), 2)
        magnitude = 2**k + q * 2 ** (k - 2) + 2 * middle + p
    return magnitude if token % 2 else -magnitude


def numbers(data: bytes, kind: str) -> list[float]:
    """A section of numbers whose bytes lie in planes."""
    width = int(kind[-1])
    count = len(data) // width
    return np.array(bytearray(b"".join(data[i::count] for i in range(count))), np.uint8).view(kind).tolist()


def read(data: bytes) -> dict[str, np.ndarray]:
    """The weights of a file whose sections are all raw."""
    _, _, _, stored, _, _, _ = struct.unpack_from("<4sHHIIQI", data)
    header = json.loads(zlib.decompress(data[28 : 28 + stored]))
    sections, begin = {}, 28 + stored
    for name, codec, size, _, _ in header["sections"]:
        assert codec == "raw"
        sections[name], begin = data[begin : begin + size], begin + size
    rows = [dict(zip(("name", "format", "detail", "role", "shape"), row, strict=True)) for row in header["tensors"]]
    stepped = [row for row in rows if row["format"] == "row_column"]
    roles = list(dict.fromkeys(row["role"] for row in stepped))
    gathered = [row for role in roles for row in stepped if row["role"] == role]
    bases = struct.unpack_from(f"<{len(gathered)}f", sections["codes"])
    stream = Adaptive(sections["codes"][4 * len(gathered) :])
    for one, base in zip(gathered, bases, strict=True):
        sizes = [*as_matrix(one), *as_matrix(one)]
        r, c, row_spreads, column_spreads = map(stream.array, sizes)
        one |= {"base": base, "r": r, "c": c}
        one["rows"] = [a - b for a, b in zip(row_spreads, r, strict=True)]
        one["columns"] = [a - b for a, b in zip(column_spreads, c, strict=True)]
    for role in roles:
        read_blocks(sections[f"blocks.{role}"], [one for one in gathered if one["role"] == role])
    even = [row for row in rows if row["format"] == "per_tensor"]
    if even:
        steps = struct.unpack_from(f"<{len(even)}f", sections["vectors"])
        stream = Adaptive(sections["vectors"][4 * len(even) :])
        for one, step in zip(even, steps, strict=True):
            one |= {"step": step, "integers": stream.array(int(np.prod(one["shape"])))}
    grouped = [row for row in rows if row["format"] == "per_group"]
    if grouped:
        stream = Adaptive(sections["group_classes"])
        for one in grouped:
            one["rows"], one["columns"] = map(stream.array, one["shape"])
            one["group"], one["detail"] = one["detail"], 1
        for role in dict.fromkeys(row["role"] for row in grouped):
            read_blocks(sections[f"group_blocks.{role}"], [one for one in grouped if one["role"] == role])
    kinds = {
        "scaled_float16": "<f2",
        "group_scales": "<f2",
        "scales": "<f2",
        "factor_scales": "<f2",
        "float16": "<f2",
        "float32": "<f4",
    }
    plain = {name: iter(numbers(sections[name], kind)) for name, kind in kinds.items() if name in sections}
    integers = {name: list(data) for name, data in sections.items() if name.startswith("symbols.") or name == "factors"}
    found = {one["name"]: weights_of(one, plain, integers) for one in rows}
    return found | {name: found[known] for name, known in header.get("aliases", {}).items()}


def as_matrix(one: dict[str, Any]) -> tuple[int, int]:
    axes = one["detail"] // 1024 + 1 if one["format"] == "row_column" else 1
    return int(np.prod(one["shape"][:axes])), int(np.prod(one["shape"][axes:]))


def signed(integers: list[int], count: int) -> list[int]:
    taken = [integers.pop(0) for _ in range(count)]
    return [byte - 256 if byte > 127 else byte for byte in taken]


def weights_of(one: dict[str, Any], plain: dict[str, Any], integers: dict[str, list[int]]) -> np.ndarray:
    shape, f = one["shape"], np.float32
    if one["format"] == "per_group":
        return grouped_weights(one, plain)
    if one["format"] == "scaled_float16":
        values = itertools.islice(plain["scaled_float16"], int(np.prod(shape)))
        return np.array([f(value * 2.0 ** one["detail"]) for value in values], f).reshape(shape)
    if one["format"].startswith("float"):
        return np.array(list(itertools.islice(plain[one["format"]], int(np.prod(shape)))), f).reshape(shape)
    if one["format"] == "per_tensor":
        return np.array([f(n) * f(one["step"]) for n in one["integers"]], f).reshape(shape)
    rows, columns = as_matrix(one)
    found = np.zeros((rows, columns), f)
    if one["format"] == "row_column":
        for o, i in itertools.product(range(rows), range(columns)):
            n, g = one["integers"][o][i], one["cosets"][o][i]
            level = n if one["detail"] % 1024 == 1 else 2 * n - int(np.sign(n)) * g
            code = one["r"][o] + one["c"][i]
            found[o, i] = f(level) * (f(one["base"]) * f(M[code % 4] * 2.0 ** (code // 4 - 23)))
        return found.reshape(shape)
    assert one["format"] in ("per_channel", "low_rank_corrected"), f"write {one['format']} here, by its page alone"
    raw = integers[f"symbols.{one['role']}"]
    if one["detail"] == 16:
        low, high = ([raw.pop(0) for _ in range(rows * columns)] for _ in range(2))
        n = [(a + 256 * b - 128 + 2**15) % 2**16 - 2**15 for a, b in zip(low, high, strict=True)]
    else:
        n = signed(raw, rows * columns)
    scales = list(itertools.islice(plain["scales"], rows))
    for o, i in itertools.product(range(rows), range(columns)):
        found[o, i] = f(n[o * columns + i]) * f(scales[o])
    if one["format"] == "low_rank_corrected":
        R = min(4, rows, columns)
        a, b = signed(integers["factors"], rows * R), signed(integers["factors"], R * columns)
        alpha = next(plain["factor_scales"])
        beta = list(itertools.islice(plain["factor_scales"], -(-R * columns // 64)))
        for o, i in itertools.product(range(rows), range(columns)):
            c = 0.0
            for r in range(R):
                c += (a[o * R + r] * alpha) * (b[r * columns + i] * beta[(r * columns + i) // 64])
            found[o, i] += f(c)
    return found.reshape(shape)


def grouped_weights(one: dict[str, Any], plain: dict[str, Any]) -> np.ndarray:
    (rows, columns), f = one["shape"], np.float32
    found = np.zeros((rows, columns), f)
    for o in range(rows):
        scales = list(itertools.islice(plain["group_scales"], -(-columns // one["group"])))
        for i in range(columns):
            found[o, i] = f(one["integers"][o][i]) * f(scales[i // one["group"]])
    return found


@pytest.mark.parametrize("spread", [0, 9, 900, 30_000])
def test_a_reader_from_the_page(spread: int) -> None:
    """Every tensor of the example, narrow and wide, with and without a trellis."""
    data = example_file(compressor="raw", spread=spread, spec=None)
    found, expected = read(data), loads(data).quantized.state_dict()
    assert list(found) == list(expected)
    for name, weights in expected.items():
        assert np.array_equal(found[name], weights.numpy()), name


@pytest.mark.parametrize("seed", range(3))
def test_every_format_from_the_page(seed: int) -> None:
    """A few shapes of each, with both axes of convolutions and short groups."""
    rng = np.random.default_rng(seed)
    tensors = {
        f"{name}.{i}": EXAMPLES[name](rng, shape)
        for name in EXAMPLES
        for i, shape in enumerate(shapes_of(name))
        if np.prod(shape) < 2500
    }
    first, *_, last = tensors
    model = QuantizedModel(tensors, {"twin": first, "triplet": first, "another": last})
    found = read(pack(None, model, b"", ABOUT, ArtifactConfig(compressor="raw")))
    for name, tensor in (tensors | {alias: tensors[known] for alias, known in model.aliases.items()}).items():
        assert np.array_equal(found.pop(name), tensor.weights()), name
    assert not found
