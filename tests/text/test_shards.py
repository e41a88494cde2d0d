"""Token files: written and read in the contest's format, refused when damaged."""

from pathlib import Path

import numpy as np
import pytest

from bytecap.core.errors import DataError
from bytecap.text import shards
from bytecap.text.shards import ShardWriter, TokenStream, find_shards, open_shard


def write(folder: Path, documents: list[list[int]], shard_tokens: int = 7) -> list[Path]:
    writer = ShardWriter(folder, "train", shard_tokens)
    for document in documents:
        writer.write([1, *document])
    writer.close()
    return writer.paths


def test_golden_bytes(tmp_path: Path) -> None:
    """Header and tokens of a shard, byte for byte as the contest's specification has them."""
    (path,) = write(tmp_path, [[5, 300]])
    data = path.read_bytes()
    assert path.name == "fineweb_train_000000.bin"
    assert data[:12] == bytes.fromhex("88d834010100000003000000") and data[12:1024] == bytes(1012)
    assert data[1024:] == bytes.fromhex("010005002c01")


def test_shards_join_to_one_stream(tmp_path: Path) -> None:
    """Cuts at any place do not show: reads and documents equal those of the plain list."""
    documents = [[7] * 5, [], [8, 9], list(range(10, 40)), [4]]
    paths = write(tmp_path, documents)
    assert find_shards(tmp_path, "train") == paths and len(paths) > 4
    flat = [t for d in documents for t in [1, *d]]
    stream = TokenStream(paths)
    assert len(stream) == len(flat)
    for start in range(len(flat)):
        assert stream.read(start, 9).tolist() == flat[start : start + 9]
    assert [d.tolist() for d in stream.documents(1)] == [d for d in documents if d]
    assert [d.tolist() for d in stream.documents(1, empty=True)] == documents


def test_documents_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents longer and shorter than the reading chunk come out whole."""
    documents = [[2] * n for n in (1, 10, 0, 3, 25, 0, 0, 2, 2, 9, 0)]
    paths = write(tmp_path, documents, shard_tokens=1000)
    for chunk in range(1, 30):
        monkeypatch.setattr(shards, "_CHUNK", chunk)
        stream = TokenStream(paths)
        assert [d.tolist() for d in stream.documents(1)] == [d for d in documents if d]
        assert [d.tolist() for d in stream.documents(1, empty=True)] == documents


def test_damage_is_named(tmp_path: Path) -> None:
    """Wrong magic, version, length, and ids beyond the vocabulary, each with its own sentence."""
    (path,) = write(tmp_path, [[5, 300]])
    good = path.read_bytes()
    for data, message in (
        (b"\0" + good[1:], "magic is"),
        (good[:4] + b"\2" + good[5:], "shard version 2, this program reads 1"),
        (good[:-2], "is 1,028 bytes but its header says 3 tokens, which take 1,030"),
        (good + b"\0", "cut short or damaged"),
        (good[:9], "not a token shard|cut short"),
        (b"", "not a token shard"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            open_shard(path)
    path.write_bytes(good)
    assert np.array_equal(open_shard(path, vocab_size=301), [1, 5, 300])
    with pytest.raises(DataError, match="token id 300 at position 2, beyond the vocabulary of 300"):
        open_shard(path, vocab_size=300)
    with pytest.raises(DataError, match="no token shards"):
        TokenStream([])


def test_a_series_is_whole(tmp_path: Path) -> None:
    """A shard that is missing between two others is named; a series may begin anywhere, and several follow in order."""
    (first, second, third) = write(tmp_path, [list(range(10, 40))], shard_tokens=12)
    second.rename(tmp_path / "other_train_000001.bin")
    with pytest.raises(DataError, match=r"lacks shard 000001 of fineweb_train, between .*_000000\.bin and .*2\.bin"):
        find_shards(tmp_path, "train")
    first.unlink()
    assert [path.name for path in find_shards(tmp_path, "train")] == [third.name, "other_train_000001.bin"]
    third.rename(tmp_path / "fineweb_train_999999999999.bin")
    assert len(find_shards(tmp_path, "train")) == 2


@pytest.mark.parametrize("name", ["fineweb_train_000000 (1).bin", "fineweb_train_0.bin"])
def test_almost_a_shard(tmp_path: Path, name: str) -> None:
    """A copy beside a shard, as browsers leave them, is named, not read as one more."""
    write(tmp_path, [[5, 6]])
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="almost the name of a shard, such as fineweb_train_000000"):
        find_shards(tmp_path, "train")
