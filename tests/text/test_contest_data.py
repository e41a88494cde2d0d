"""Known answers on the contest's own shards and tokenizers (needs --contest-data)."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest

from bytecap.core.errors import DataError
from bytecap.core.progress import Silent
from bytecap.text.byte_check import check_table
from bytecap.text.byte_counts import build_table
from bytecap.text.config import TextConfig
from bytecap.text.prepare import prepare
from bytecap.text.shards import ShardWriter, StreamSlice, TokenStream
from bytecap.text.tokenizer import Tokenizer

SHARDS = [  # vocabulary, split, tokens, BOS, byte pieces, bytes of all targets, bytes of targets cut to 1,024
    (1024, "train", 1_048_576, 971, 2_797, 2_557_436, 2_554_718),
    (1024, "val", 1_040_298, 902, 3_294, 2_504_867, 2_502_627),
    (4096, "train", 1_048_576, 1_322, 3_948, 3_485_754, 3_482_412),
    (4096, "val", 131_073, 150, 390, 434_312, 434_312),
]


@pytest.mark.parametrize(("vocab", "split", "tokens", "bos", "byte_pieces", "all_bytes", "cut_bytes"), SHARDS)
def test_known_counts(
    contest_data: Path, vocab: int, split: str, tokens: int, bos: int, byte_pieces: int, all_bytes: int, cut_bytes: int
) -> None:
    """Section 9 of the contest's data specification, number for number."""
    tokenizer = Tokenizer.read(contest_data / f"tokenizers/fineweb_{vocab}_bpe.model")
    assert not tokenizer.lossless
    path = contest_data / f"datasets/fineweb10B_sp{vocab}/fineweb_{split}_000000.bin"
    stream = TokenStream([path], vocab_size=vocab)
    ids = stream.read(0, len(stream))
    assert (len(stream), int((ids == 1).sum())) == (tokens, bos)
    assert sum(tokenizer.processor.is_byte(int(i)) for i in ids) == byte_pieces
    table = build_table(tokenizer)
    counts = table.count(ids[:-1], ids[1:])
    assert int(counts.sum()) == all_bytes
    assert int(counts[: (tokens - 1) // 1024 * 1024].sum()) == cut_bytes
    assert check_table(table, tokenizer, stream, raw=None).decoded == all_bytes


@pytest.mark.parametrize(("vocab", "tokens"), [(1024, 628_457), (4096, 468_396), (8192, 420_973)])
def test_raw_documents(contest_data: Path, tmp_path: Path, vocab: int, tokens: int) -> None:
    """The 200 raw documents: token counts, 1,489,418 counted bytes, and a refusal unless declared lossy."""
    tokenizer = Tokenizer.read(contest_data / f"tokenizers/fineweb_{vocab}_bpe.model")
    with gzip.open(contest_data / "docs_selected.sample200.jsonl.gz") as file:
        documents = [json.loads(line)["text"] for line in file]
    writer = ShardWriter(tmp_path, "val", 1 << 20)
    for document in documents:
        writer.write([1, *tokenizer.encode(document)])
    writer.close()
    stream = TokenStream(writer.paths)
    assert len(stream) == tokens
    table = build_table(tokenizer)
    check = check_table(table, tokenizer, stream, raw=documents, lossy_declared=True)
    assert (check.counted, check.raw) == (1_489_418, 1_489_515)
    with pytest.raises(DataError, match=r"does not come back from the tokenizer as it was.*lossy_tokenizer=true"):
        check_table(table, tokenizer, stream, raw=documents)


def test_byte_sidecar(contest_data: Path) -> None:
    """The CaseOps shard and its sidecar: 490,163 tokens that stand for 1,489,515 bytes."""
    folder = contest_data / "datasets/docs200_sp8192_lossless_caps_caseops_v1_reserved"
    sidecar = TokenStream([folder / "fineweb_val_bytes_000000.bin"])
    assert len(sidecar) == len(TokenStream([folder / "fineweb_val_000000.bin"])) == 490_163
    assert int(sidecar.read(0, len(sidecar)).sum()) == 1_489_515


def test_shards_are_used_where_they_lie(contest_data: Path, tmp_path: Path) -> None:
    """`text.shards` points at the contest's folder; another tokenizer of the same size is noticed."""
    shards = str(contest_data / "datasets/fineweb10B_sp4096")
    right = TextConfig(shards=shards, tokenizer=str(contest_data / "tokenizers/fineweb_4096_bpe.model"))
    tokens = prepare(right, tmp_path, Silent())
    assert (tokens.train_tokens, tokens.validation_tokens, tokens.vocab_size) == (1_048_576, 131_073, 4096)
    assert int(np.max(tokens.train_stream().read(0, 1000))) < 4096
    smaller = TextConfig(shards=shards, tokenizer=str(contest_data / "tokenizers/fineweb_1024_bpe.model"))
    with pytest.raises(DataError, match="beyond the vocabulary of 1,024"):
        prepare(smaller, tmp_path, Silent())
    larger = TextConfig(shards=shards, tokenizer=str(contest_data / "tokenizers/fineweb_8192_bpe.model"))
    with pytest.raises(DataError, match="not the tokenizer these shards were made with"):
        prepare(larger, tmp_path, Silent())


@pytest.mark.parametrize(("vocab", "split"), [(1024, "val"), (4096, "val")])
def test_shards_cut_anywhere_are_counted(contest_data: Path, vocab: int, split: str) -> None:
    """Two hundred random cuts of the contest's own stream have the bytes that the whole gives their tokens."""
    tokenizer = Tokenizer.read(contest_data / f"tokenizers/fineweb_{vocab}_bpe.model")
    path = contest_data / f"datasets/fineweb10B_sp{vocab}/fineweb_{split}_000000.bin"
    stream, table = TokenStream([path]), build_table(tokenizer)
    ids = stream.read(0, len(stream))
    counts = table.count(ids[:-1], ids[1:])
    rng = random.Random(0)
    for _ in range(200):
        begin = rng.randrange(len(ids) - 3_000)
        cut = StreamSlice(stream, begin, begin + rng.randrange(2, 3_000))
        counted = int(counts[begin : begin + len(cut) - 1].sum())
        assert check_table(table, tokenizer, cut, raw=None).decoded == counted
