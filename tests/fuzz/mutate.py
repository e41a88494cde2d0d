"""Random changes of bytes, of JSON values and of protobuf messages. Everything follows from the generator handed in.

In:   a valid value.
Out:  one that is a little wrong, or very.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

MARKS = {"\ue000huge number": "9" * 5000, "\ue000deep list": "[" * 2000 + "0" + "]" * 2000}
"""What stands in a JSON value for text that `json.dumps` refuses to write."""
NUMBERS = [
    0, 1, -1, 2, 3, 7, 8, 15, 16, 17, 255, 256, 65_535, 65_536, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 53) + 1,
    1 << 62, (1 << 63) - 1, 1 << 64, -(1 << 31), -(1 << 63), 10**30,
]  # fmt: skip
FLOATS = [0.0, -0.0, 0.5, 1.5, -1.0, 1e-45, 1e-300, 1e38, 1e308, float("nan"), float("inf"), float("-inf")]
WORDS = [
    "", " ", "a", "embedding", "matrix", "scalar", "\x1b[2Jgone", "\x9b31m", "\x00", "\u2581", "\ud800", "\U0001f600",
    "../../etc/passwd", "/dev/null", "/dev/zero", "/proc/self/mem", ".", "..", "a" * 300, "x" * 70_000, "NaN", "-1",
    "1e400", "null", "[red]markup[/red]", "%s%n", "{0}", "\u202eabc", "\r\noverwritten",
]  # fmt: skip


def mutate_bytes(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """One to eight changes: bits, bytes, cuts, copies, insertions, and pieces of another file."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice((1, 1, 2, 4, 8, 64, 1024))
        match rng.randrange(9):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del changed[at : at + size]
            case 3:
                changed[at:at] = rng.randbytes(size)
            case 4:
                changed[at : at + size] = rng.randbytes(size)
            case 5:
                changed[at:at] = changed[at : at + size] * rng.choice((1, 2, 50))
            case 6 if rng.random() < 0.3:
                del changed[at:]
            case 7 if other:
                begin = rng.randrange(len(other))
                changed[at : at + size] = other[begin : begin + size]
            case _:
                number = rng.choice(NUMBERS) & 0xFFFFFFFFFFFFFFFF
                width = rng.choice((2, 4, 8))
                changed[at : at + width] = number.to_bytes(8, "little")[:width]
    return bytes(changed)


def strange_value(rng: random.Random) -> Any:
    """Something that a reader may not expect."""
    choices: list[Callable[[], Any]] = [
        lambda: rng.choice(NUMBERS), lambda: rng.choice(NUMBERS), lambda: rng.choice(FLOATS), lambda: rng.choice(WORDS),
        lambda: None, lambda: rng.random() < 0.5, list, dict, lambda: rng.choice(list(MARKS)), lambda: {"text": "x"},
        lambda: [rng.choice(NUMBERS) for _ in range(3)], lambda: {rng.choice(WORDS): 0}, lambda: ["a"] * 5000,
    ]  # fmt: skip
    return rng.choice(choices)()


def mutate_json(rng: random.Random, value: Any) -> Any:
    """One to three changes anywhere in a tree of dictionaries, lists and scalars; the value itself is left as it is."""
    changed = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        changed = _change_one(rng, changed)
    return changed


def _change_one(rng: random.Random, value: Any) -> Any:
    """Walk down to a random place and change it there."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        match rng.randrange(8):
            case 0:
                del value[key]
            case 1:
                _double(rng, value, key)
            case 2 if isinstance(value, list):
                rng.shuffle(value)
            case 2 if isinstance(value, dict):
                value[rng.choice(WORDS)] = value.pop(key)
            case _:
                value[key] = _change_one(rng, value[key])
        return value
    if type(value) is int and rng.random() < 0.5:
        return rng.choice((value + 1, value - 1, -value, value * 2, value // 2, value * 1000, float(value)))
    if isinstance(value, str) and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice(WORDS) + value[at + rng.randrange(3) :]
    return strange_value(rng)


def _double(rng: random.Random, value: Any, key: Any) -> None:
    """The item once more, somewhere in the list or in the place of another key."""
    copied = json.loads(json.dumps(value[key]))
    if isinstance(value, list):
        value.insert(rng.randrange(len(value) + 1), copied)
    else:
        value[rng.choice([*value, rng.choice(WORDS)])] = copied


def dump_json(rng: random.Random, value: Any) -> str:
    """JSON text, now and then with a key that stands twice; NaN and huge integers are written as they are."""
    text = json.dumps(value)
    if isinstance(value, dict) and value and rng.random() < 0.05:
        key = rng.choice(list(value))
        text = f"{{{json.dumps(key)}: {rng.choice(('null', '0', '[]', json.dumps(value[key])))}, {text[1:]}"
    for mark, written in MARKS.items():
        text = text.replace(json.dumps(mark), written)
    return text


# ---- protobuf, enough of it for a SentencePiece model ----

NESTED_OF_A_TOKENIZER = frozenset({1, 2, 3, 4, 5})
"""Pieces, trainer, normalizer, self-test and denormalizer of a SentencePiece model are messages of their own."""

Field = tuple[int, int, Any]
"""Number, wire type, and an integer (0), eight bytes (1), a byte string (2) or four bytes (5)."""


def read_message(data: bytes) -> list[Field]:
    """The fields of a message in order."""
    fields: list[Field] = []
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == 0:
            number, at = _read_varint(data, at)
            fields.append((key >> 3, wire, number))
            continue
        if wire == 2:
            size, at = _read_varint(data, at)
        else:
            size = 8 if wire == 1 else 4
        fields.append((key >> 3, wire, data[at : at + size]))
        at += size
    return fields


def write_message(fields: list[Field]) -> bytes:
    """The bytes of a message."""
    parts = []
    for number, wire, value in fields:
        parts.append(_write_varint(number << 3 | wire))
        if wire == 0:
            parts.append(_write_varint(value))
        else:
            parts += [_write_varint(len(value)) if wire == 2 else b"", value]
    return b"".join(parts)


def mutate_message(rng: random.Random, data: bytes, nested: frozenset[int]) -> bytes:
    """Fields dropped, doubled, swapped, or changed inside; `nested` are the numbers of fields that are messages."""
    fields = read_message(data)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        if not fields:
            break
        # Fields that stand once are as likely as the hundreds of pieces.
        wanted = rng.choice(sorted({number for number, _, _ in fields}))
        at = rng.choice([i for i, field in enumerate(fields) if field[0] == wanted])
        number, wire, value = fields[at]
        match rng.randrange(6):
            case 0:
                del fields[at]
            case 1:
                fields.insert(rng.randrange(len(fields) + 1), fields[at])
            case 2:
                other = rng.randrange(len(fields))
                fields[at], fields[other] = fields[other], fields[at]
            case _:
                fields[at] = (number, wire, _mutate_field(rng, wire, value, number in nested))
    return write_message(fields)


def _mutate_field(rng: random.Random, wire: int, value: Any, nested: bool) -> Any:
    if wire == 0:
        return rng.choice((value ^ 1, rng.randrange(10), abs(rng.choice(NUMBERS)) & 0xFFFFFFFFFFFFFFFF))
    if nested:
        return mutate_message(rng, value, frozenset())
    if wire == 2 and rng.random() < 0.5:
        return rng.choice(WORDS).encode("utf-8", "surrogatepass")
    changed = mutate_bytes(rng, value)
    return changed if wire == 2 else (changed + bytes(8))[: len(value)]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def _write_varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
