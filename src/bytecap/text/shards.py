"""Token files on disk, in the Parameter Golf format.

In / Out:  1,024 header bytes (256 little-endian int32: magic 20240520, version 1, token count, zeros), then one
           little-endian uint16 per token. A document begins at each BOS; shards cut the stream anywhere and are
           joined in the order of their names.
Source:    openai/parameter-golf, data/README.md and train_gpt.py. The file names are the ones its scripts look for.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import DataError
from bytecap.core.files import append

HEADER_BYTES = 1024
MAGIC = 20240520
VERSION = 1
MAX_VOCAB = 65_536
MAX_SHARD_TOKENS = (1 << 31) - 1
"""The most that the header can say."""
Ids = npt.NDArray[np.integer]

_CHUNK = 1 << 22


def shard_name(split: str, index: int) -> str:
    """File name of one shard; `split` is `train`, `val` or `val_bytes`."""
    return f"fineweb_{split}_{index:06d}.bin"


def find_shards(folder: Path, split: str) -> list[Path]:
    """Shards of a split in stream order; an empty list when there are none.

    DataError where one is missing between two others, or a name is almost that of a shard.
    """
    series: dict[str, dict[int, Path]] = {}
    for path in folder.glob(f"*_{split}_[0-9]*.bin"):
        match = re.fullmatch(rf"(.*)_{split}_([0-9]+)\.bin", path.name)
        if match is None or int(match[2]) in series.get(match[1], {}):
            raise DataError(
                f"{path} has almost the name of a shard, such as {shard_name(split, 0)}; rename or remove it",
                path=str(path),
            )
        series.setdefault(match[1], {})[int(match[2])] = path
    for name, found in series.items():
        for before, after in itertools.pairwise(sorted(found)):
            if after != before + 1:
                raise DataError(
                    f"{folder} lacks shard {before + 1:06d} of {name}_{split}, between {found[before].name} and "
                    f"{found[after].name}; copy it again, or remove those after it",
                    path=str(folder),
                )
    return [found[index] for _, found in sorted(series.items()) for index in sorted(found)]


def open_shard(path: Path, *, vocab_size: int | None = None) -> npt.NDArray[np.uint16]:
    """Tokens of one shard as a read-only map; DataError on a wrong magic, version, length or an id >= vocab_size."""
    try:
        size = path.stat().st_size
        head = np.fromfile(path, dtype="<i4", count=3)
    except OSError as error:
        raise DataError(f"cannot read shard {path}: {error}", path=str(path)) from error
    if head.size < 3 or head[0] != MAGIC:
        found = int(head[0]) if head.size else "nothing"
        raise DataError(f"{path} is not a token shard: magic is {found}, needed {MAGIC}", path=str(path))
    if head[1] != VERSION:
        raise DataError(f"{path} has shard version {int(head[1])}, this program reads {VERSION}", path=str(path))
    tokens = int(head[2])
    if size != HEADER_BYTES + 2 * tokens or tokens <= 0:
        raise DataError(
            f"{path} is {size:,} bytes but its header says {tokens:,} tokens, which take {HEADER_BYTES + 2 * tokens:,};"
            " the file is cut short or damaged, copy it again",
            path=str(path),
        )
    ids: npt.NDArray[np.uint16] = np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES, shape=(tokens,))
    if vocab_size is not None:
        _check_ids(ids, vocab_size, path)
    return ids


def _check_ids(ids: npt.NDArray[np.uint16], vocab_size: int, path: Path) -> None:
    for start in range(0, ids.size, _CHUNK):
        part = ids[start : start + _CHUNK]
        if int(part.max()) >= vocab_size:
            at = start + int(np.argmax(part >= vocab_size))
            raise DataError(
                f"{path} holds token id {int(ids[at])} at position {at:,}, beyond the vocabulary of {vocab_size:,}; "
                "shards and tokenizer do not belong together",
                path=str(path),
                position=at,
            )


class ShardWriter:
    """Writes a token stream into shards of at most `shard_tokens`, constant in memory."""

    def __init__(self, folder: Path, split: str, shard_tokens: int) -> None:
        self._folder, self._split, self._shard_tokens = folder, split, shard_tokens
        self._file: Path | None = None
        self._in_shard = 0
        self.paths: list[Path] = []
        self.tokens = 0

    def write(self, ids: Iterable[int]) -> None:
        """Append tokens."""
        data = np.fromiter(ids, dtype="<u2")
        self.tokens += data.size
        while data.size:
            if self._file is None:
                self._begin()
            left = self._shard_tokens - self._in_shard
            assert self._file is not None
            append(self._file, data[:left].tobytes())
            self._in_shard += min(left, data.size)
            data = data[left:]
            if self._in_shard == self._shard_tokens:
                self.close()

    def close(self) -> None:
        """Finish the open shard by writing its header; idempotent."""
        if self._file is None:
            return
        header = np.zeros(256, dtype="<i4")
        header[:3] = MAGIC, VERSION, self._in_shard
        with self._file.open("rb+") as file:
            file.write(header.tobytes())
        self._file, self._in_shard = None, 0

    def _begin(self) -> None:
        self._file = self._folder / shard_name(self._split, len(self.paths))
        self._file.unlink(missing_ok=True)
        append(self._file, bytes(HEADER_BYTES))
        self.paths.append(self._file)


class TokenStream:
    """Shards joined into one stream of tokens that is never in memory as a whole."""

    def __init__(self, paths: list[Path], *, vocab_size: int | None = None) -> None:
        if not paths:
            raise DataError("there are no token shards; run `bytecap prepare` first, or correct text.shards")
        self._shards = [open_shard(path, vocab_size=vocab_size) for path in paths]
        self._starts = np.cumsum([0] + [s.size for s in self._shards])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """Up to `length` tokens from `start`, as int64."""
        parts = []
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while length > 0 and shard < len(self._shards):
            offset = start - int(self._starts[shard])
            part = self._shards[shard][offset : offset + length]
            parts.append(part)
            start, length, shard = start + part.size, length - part.size, shard + 1
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def documents(self, bos: int, *, empty: bool = False) -> Iterator[npt.NDArray[np.int64]]:
        """Each document's tokens without its BOS, those without tokens only where `empty` asks for them.

        Tokens before the first BOS are a document too.
        """
        kept = np.zeros(0, np.int64)
        begun = False
        for start in range(0, len(self), _CHUNK):
            kept = np.concatenate([kept, self.read(start, _CHUNK)])
            previous = 0
            for begin in np.flatnonzero(kept == bos).tolist():
                if begin > previous or (begun and empty):
                    yield kept[previous:begin]
                begun, previous = True, begin + 1
            kept = kept[previous:]  # the last document may continue in the next chunk
        if kept.size or (begun and empty):
            yield kept


class StreamSlice(TokenStream):
    """A part of a stream, from token `begin` up to `end`, as a stream of its own."""

    def __init__(self, whole: TokenStream, begin: int, end: int) -> None:
        self._whole, self._begin, self._end = whole, begin, end

    def __len__(self) -> int:
        return self._end - self._begin

    def read(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """Up to `length` tokens from `start` of the part, as int64."""
        return self._whole.read(self._begin + start, min(length, len(self) - start))
