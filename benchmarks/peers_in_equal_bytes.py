"""Peers that know the same training text, in the bytes of a run's model: dictionaries, primed compressors, n-grams.

usage: python benchmarks/peers_in_equal_bytes.py RUN [RUN ...] [--peers dictionary,ngram,ppmd,zpaq,paq]

The first RUN gives training text, held-out documents and the bytes (its cap). Every peer may bring so many bytes made
of the training text, and codes each held-out document alone. Programs count nothing, on neither side:

    dictionary   zstd -19 with a dictionary trained on the text, of that size as it stands, and of that size after xz
    ngram        byte n-grams, interpolated with absolute discounting; table pruned until it fits after xz
    ppmd         7-Zip's PPMd, as a file of that size holds training text for it to read first (`pip install pyppmd`)
    zpaq         ZPAQ's strongest setting, a context mixer of paq's kind, primed in the same way (`pip install zpaq`)
    paq          paq9a, a context mixer behind a long-range predictor, primed in the same way (`pip install paq`, or
                 Debian's python3-paq)

cmix and paq8 come in no package of PyPI or Debian, and are not tried. Every RUN is a row of its own with its tokens
and seconds of training, so that a budget of seconds and one of tokens can stand side by side.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import zstandard
from ngram_table import NgramTable, count_ngrams, fit_table

from bytecap.core.units import bits_per_byte, compressed_bits_per_byte
from bytecap.text.tokens import load_tokens

ORDER, SAMPLES = 12, 16_000
PARTS = 2_048
"""Bytes of each piece that a dictionary is trained on."""


def main() -> None:
    """Print one row for each run and each peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished run folders")
    parser.add_argument("--peers", default=",".join(PEERS), help="names with commas between")
    options = parser.parse_args()
    records = [json.loads((run / "record.json").read_text("utf-8")) for run in options.runs]
    cap = records[0]["artifact"]["cap_bytes"]
    tokens = load_tokens(options.runs[0] / "tokens")
    held_out = [text.encode() for text in tokens.validation_documents() or []]
    train = [tokens.tokenizer.decode(ids).encode() for ids in tokens.train_stream().documents(tokens.tokenizer.bos)]
    random.Random(0).shuffle(train)
    print(f"{len(train):,} documents of training text, {sum(map(len, train)):,} bytes; ", end="")
    print(f"{len(held_out):,} held out, {sum(map(len, held_out)):,} bytes; {cap:,} bytes for each\n")
    print(f"{'':46s} {'bytes':>9s} {'bits/byte':>10s} {'seconds':>8s}")
    for run, record in zip(options.runs, records, strict=True):
        training, artifact = record["training"], record["artifact"]
        about = f"{training['tokens']:,} tokens, {record['seconds']['train']:.0f} s"
        found = record["scores"]["after"]["bits_per_byte"]
        print(f"{f'model, {about} ({run.name})':46s} {artifact['bytes']:9,d} {found:10.4f}", flush=True)
    for name in options.peers.split(","):
        begin = time.perf_counter()
        try:
            rows = list(PEERS[name](train, held_out, cap))
        except ImportError as error:
            print(f"{name:46s} not installed ({error})")
            continue
        for what, size, bits in rows:
            print(f"{what:46s} {size:9,d} {bits:10.4f} {time.perf_counter() - begin:8.1f}", flush=True)


Row = tuple[str, int, float]


def with_dictionary(train: Sequence[bytes], held_out: Sequence[bytes], cap: int) -> Iterator[Row]:
    """zstd -19 with a trained dictionary: kept as it is, and kept compressed."""
    pieces = [text[at : at + PARTS] for text in train for at in range(0, len(text), PARTS)]
    sample: list[Any] = random.Random(1).sample(pieces, min(SAMPLES, len(pieces)))

    def make(size: int) -> bytes:
        return zstandard.train_dictionary(size, sample).as_bytes()

    for what, size in (
        ("as it is", cap),
        ("after xz", largest(lambda size: packed(make(size)), cap, cap, 6 * cap, steps=4)),
    ):
        dictionary = make(size)
        compressor = zstandard.ZstdCompressor(level=19, dict_data=zstandard.ZstdCompressionDict(dictionary))
        coded = sum(len(compressor.compress(text)) for text in held_out)
        kept = len(dictionary) if what == "as it is" else packed(dictionary)
        yield f"zstd -19, dictionary {what}", kept, compressed_bits_per_byte(coded, sum(map(len, held_out)))


def by_ngrams(train: Sequence[bytes], held_out: Sequence[bytes], cap: int) -> Iterator[Row]:
    """Byte n-grams; discounts are chosen on the last hundredth of the training text, which is not counted."""
    last = len(train) - max(1, len(train) // 100)
    counted = count_ngrams(b"\0".join(train[:last]), ORDER)
    table: NgramTable = fit_table(counted, cap, train[last:])
    nats = sum(table.nats(text) for text in held_out)
    what = f"byte n-grams up to {table.order}, {table.entries:,} kept"
    yield what, table.size, bits_per_byte(nats, sum(map(len, held_out)))


def by_ppmd(train: Sequence[bytes], held_out: Sequence[bytes], cap: int) -> Iterator[Row]:
    """PPMd, variant H, that has read the training text which its own file of `cap` bytes holds."""
    import pyppmd  # noqa: PLC0415  (an optional peer)

    def size(order: int, text: bytes) -> int:
        encoder = pyppmd.Ppmd7Encoder(order, 256 << 20)
        return len(encoder.encode(text)) + len(encoder.flush())

    for order in (6, 16, 32):
        yield primed(f"PPMd, order {order}", partial(size, order), train, held_out, cap)


def by_zpaq(train: Sequence[bytes], held_out: Sequence[bytes], cap: int) -> Iterator[Row]:
    """ZPAQ, method 5, that has read the training text which its own file of `cap` bytes holds."""
    import zpaq  # noqa: PLC0415  (an optional peer)

    def size(text: bytes) -> int:  # hints look at the whole input and choose another model for another text
        return len(zpaq.compress(text, level=5, threads=1, hints=False))

    yield primed("ZPAQ -m5", size, train, held_out, cap)


def by_paq(train: Sequence[bytes], held_out: Sequence[bytes], cap: int) -> Iterator[Row]:
    """paq9a that has read the training text which its own file of `cap` bytes holds."""
    import paq  # noqa: PLC0415  (an optional peer)

    yield primed("paq9a", lambda text: len(paq.compress(text)), train, held_out, cap)


PEERS: dict[str, Callable[[Sequence[bytes], Sequence[bytes], int], Iterator[Row]]] = {
    "dictionary": with_dictionary,
    "ngram": by_ngrams,
    "ppmd": by_ppmd,
    "zpaq": by_zpaq,
    "paq": by_paq,
}


def primed(name: str, size: Callable[[bytes], int], train: Sequence[bytes], held_out: Sequence[bytes], cap: int) -> Row:
    """What each document adds to a file that begins with as much training text as fits into `cap` bytes."""
    text = b"".join(train)
    length = largest(lambda length: size(text[:length]), cap, cap, min(len(text), 16 * cap), steps=8)
    known = text[:length]
    before = size(known)
    coded = sum(size(known + document) - before for document in held_out)
    bits = compressed_bits_per_byte(coded, sum(map(len, held_out)))
    return f"{name}, primed with {length:,} bytes of text", before, bits


def largest(size: Callable[[int], int], cap: int, low: int, high: int, steps: int = 7) -> int:
    """About the largest amount between `low`, which fits, and `high` whose size is at most `cap`."""
    for _ in range(steps):
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= cap else (low, middle)
    return low


def packed(data: bytes) -> int:
    """Bytes after xz -9e."""
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()
