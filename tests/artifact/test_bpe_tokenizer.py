"""Merges follow from pieces in their order, for tokenizers that were trained as those people use."""

import itertools
import json
import random
from typing import Any

import pytest

from bytecap.artifact.attached import Attached
from bytecap.artifact.bpe_tokenizer import with_merges, without_merges
from bytecap.artifact.load import loads
from bytecap.core.errors import FormatError
from tests.artifact.test_attached import changed
from tests.conftest import make_document


def trained(text: str, size: int) -> tuple[list[str], list[list[str]]]:
    """Pieces and merges of byte-pair encoding, slowly: the most frequent pair of neighbours becomes a piece."""
    words = [list(word) for word in text.split()]
    pieces, merges = sorted(set("".join(text.split()))), []
    while len(pieces) < size:
        counts: dict[tuple[str, str], int] = {}
        for word in words:
            for pair in itertools.pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        left, right = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append([left, right])
        pieces.append(left + right)
        for word in words:
            at = 0
            while at + 1 < len(word):
                if word[at] == left and word[at + 1] == right:
                    word[at : at + 2] = [left + right]
                at += 1
    return pieces, merges


def written(pieces: list[str], merges: list[Any], kind: str = "BPE", **more: Any) -> bytes:
    """A tokenizer.json."""
    model = {"type": kind, "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": merges, "unk_token": None}
    return json.dumps({"version": "1.0", "model": model, **more}, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("seed", range(5))
def test_back_to_the_byte(seed: int) -> None:
    """Both ways of writing merges, special pieces before and behind."""
    pieces, merges = trained(make_document(seed, 200) + " äöü 日本日本", 90 + 20 * seed)
    every = ["<|end|>", *pieces, "<|more|>"]
    for form in (merges, [" ".join(pair) for pair in merges]):
        data = written(every, form, truncation=None)
        short = without_merges(data)
        assert short is not None and len(short) < len(data) and with_merges(short) == data


def test_merges_that_do_not_follow() -> None:
    """They stay in the file: another order, one more, one less, other numbers, other kinds, no JSON."""
    pieces, merges = trained(make_document(0, 200), 60)
    swapped = [merges[1], merges[0], *merges[2:]]
    for data in (
        written(pieces, swapped), written(pieces, merges[:-1]), written(pieces, [*merges, ["a", "b"]]),
        written(pieces, merges, "Unigram"), b"[]", b"{", b"{}", b'{"model":{"vocab":[],"merges":[],"type":"BPE"}}',
        written(pieces, merges).replace(b'":1,', b'":9999,'), written(pieces, merges) + b" ",
        written([*pieces, "x" * 257], merges), b'{"model":' * 100_000,
    ):  # fmt: skip
        assert without_merges(data) is None


def test_stored_short() -> None:
    """A tokenizer lies in the file without its merges and is read with them; others as they are."""
    data = written(*trained(make_document(1, 200), 80))
    attached = Attached({"config.json": b"{}", "tokenizer.json": data})
    rows = attached.header()["attached"]
    assert rows[0] == ["config.json", 2] and rows[1][2] == "bpe" and rows[1][1] < len(data)
    raw = attached.section("raw").data
    assert loads(changed("attached", rows, raw)).attached["tokenizer.json"] == data


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"model":{"vocab":["a","a"],"merges":"pairs"}}',
        b'{"model":{"vocab":[1],"merges":"pairs"}}', b'{"model":{"vocab":["a"],"merges":"other"}}',
        b'{"model":{"vocab":{"a":0},"merges":"pairs"}}', b'{"model":{"vocab":["a"],"merges":["pairs"]}}',
        json.dumps({"model": {"vocab": ["x" * 257], "merges": "pairs"}}).encode(), b"\xff\xfe",
        b'{"model":' * 100_000,
    ],
)  # fmt: skip
def test_forged_tables_are_refused(data: bytes) -> None:
    """FormatError for what nobody writes."""
    with pytest.raises(FormatError, match="the attached tokenizer"):
        with_merges(data)


def test_any_pieces_end() -> None:
    """Random pieces give some merges, in no time."""
    rng = random.Random(0)
    pieces = list({"".join(rng.choice("ab") for _ in range(rng.randint(1, 200))) for _ in range(300)})
    found = json.loads(with_merges(json.dumps({"model": {"vocab": pieces, "merges": "pairs"}}).encode()))
    assert len(found["model"]["vocab"]) == len(pieces)
