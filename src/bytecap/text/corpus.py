"""Documents, one at a time, from files, folders and globs.

In:   paths of text, source code, `.jsonl`, and any of them ending in `.gz` or `.zst`; none means the Python standard
      library's own sources.
Out:  an iterator of documents (str); what could not be used is counted, never kept silent.

Memory holds one document: a text longer than `document_length` is cut at line ends into several documents.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bytecap.core.errors import DataError
from bytecap.core.files import parse_json
from bytecap.text.text_files import COMPRESSED, files_in, matches, standard_library, suffixes
from bytecap.text.tokenizer import SPACE_MARK

DOCUMENT_LENGTH = 1 << 20
"""Longest document in characters; a longer text is cut after the last line end before it."""

MAX_SHOWN = 200
"""Characters of a path that is shown where nothing lies; a longer one is taken for a text."""
_BLOCK_BYTES, _ZSTD_BYTES = 1 << 20, 1 << 16


@dataclass
class Corpus:
    """A re-readable source of documents; `skipped` counts, by reason, what the last pass left out."""

    paths: tuple[str, ...] = ()
    jsonl_field: str = "text"
    strict: bool = False
    keep_space_mark: bool = False
    document_length: int = DOCUMENT_LENGTH
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """What to call it in reports."""
        return " ".join(self.paths) if self.paths else "the Python standard library's sources"

    def documents(self) -> Iterator[str]:
        """Every usable document, in a fixed order. Raises DataError when there is none or, if strict, on a bad one."""
        self.skipped.clear()
        count = 0
        for path in self.files():
            for document in self._read(path):
                if self._usable(document, path):
                    count += 1
                    yield document
        if count == 0:
            found = ", ".join(f"{number:,} {reason}" for reason, number in self.skipped.items()) or "all are empty"
            raise DataError(f"no text in {self.name}: {found}; give files that hold text in UTF-8")

    def files(self) -> list[Path]:
        """The files, folders expanded, sorted within each given path. Raises DataError for a path without files."""
        if not self.paths:
            return standard_library()
        found: list[Path] = []
        for pattern in self.paths:
            inside = [file for match in matches(pattern) for file in files_in(match)]
            if not inside:
                raise _no_files(pattern)
            found += inside
        return found

    def _read(self, path: Path) -> Iterator[str]:
        try:
            if ".jsonl" in suffixes(path):
                yield from self._json_lines(path)
            else:
                yield from _plain_text(path, self.document_length)
        except UnicodeDecodeError as error:
            with _open(path) as file:
                wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            why = "UTF-16, which `iconv -f UTF-16 -t UTF-8` rewrites" if wide else "not UTF-8"
            self._skip(why, path, f"byte {error.start:,} cannot be decoded as UTF-8")
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error  # libraries of compressed files have no number
            raise DataError(f"cannot read {path}: {reason}; repair or remove it", path=str(path)) from error

    def _json_lines(self, path: Path) -> Iterator[str]:
        """The text of each line; one that is not UTF-8 is left out alone."""
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield _line_text(line.decode("utf-8-sig" if number == 1 else "utf-8"), self.jsonl_field)
                except UnicodeDecodeError as error:
                    self._skip("lines not UTF-8", path, f"byte {error.start:,} of line {number:,} cannot be decoded")
                except ValueError as error:
                    raise DataError(f"{path} line {number} {error}", path=str(path), line=number) from error

    def _usable(self, document: str, path: Path) -> bool:
        if not document:
            return False
        if SPACE_MARK in document and not self.keep_space_mark:
            self._skip("holds U+2581", path, "the tokenizer uses U+2581 for the space and cannot give it back")
            return False
        try:
            document.encode()
        except UnicodeEncodeError:
            self._skip("lone surrogate", path, "it holds half of a surrogate pair, which has no UTF-8 form")
            return False
        return True

    def _skip(self, reason: str, path: Path, detail: str) -> None:
        if self.strict:
            raise DataError(
                f"{path} is unusable: {detail}; repair or remove it, or allow skipping with --set text.strict=false",
                path=str(path),
            )
        self.skipped[reason] += 1


def _no_files(pattern: str) -> DataError:
    """The error for a path without files, which may be a text that was given in place of its path."""
    if "\n" in pattern or len(pattern) > MAX_SHOWN:
        begins = f"no text files at a path that begins with {pattern[:40]!r}"
        return DataError(f"{begins}; it reads like a text itself, so write it to a file and give that file's path")
    return DataError(f"no text files at {pattern}; give a file, a folder or a glob with --text")


def _open(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_ZstdFrames(path))
    return path.open("rb")


class _ZstdFrames(io.RawIOBase):
    """All frames of a file one after another; EOFError where the last is cut short, OSError where it is none."""

    def __init__(self, path: Path) -> None:
        import zstandard  # noqa: PLC0415  (only such files need it)

        self._library, self._file, self._ready = zstandard, path.open("rb"), b""
        self._frame, self._inside = zstandard.ZstdDecompressor().decompressobj(), False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with as many bytes as there are and fit."""
        while not self._ready and (block := self._frame.unused_data or self._file.read(_ZSTD_BYTES)):
            if self._frame.eof:
                self._frame = self._library.ZstdDecompressor().decompressobj()
            try:
                self._ready = self._frame.decompress(block)
            except self._library.ZstdError as error:
                raise OSError(f"not zstd ({error})") from error
            self._inside = not self._frame.eof
        if not self._ready and self._inside:
            raise EOFError("the zstd data is cut short")
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        """The file beneath too."""
        self._file.close()
        super().close()


def _plain_text(path: Path, length: int) -> Iterator[str]:
    """The text of one file, cut at line ends; the whole file is checked first, so that it is used whole or not."""
    if path.suffix.lower() not in COMPRESSED and path.stat().st_size <= length:
        yield path.read_bytes().decode("utf-8")
        return
    for _ in _decoded(path):
        pass
    kept = ""
    for part in _decoded(path):
        kept += part
        start = 0
        while len(kept) - start > length:
            cut = kept.rfind("\n", start, start + length) + 1 or start + length
            yield kept[start:cut]
            start = cut
        kept = kept[start:]
    yield kept


def _decoded(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open(path) as file:
        while block := file.read(_BLOCK_BYTES):
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)


def _line_text(line: str, field_name: str) -> str:
    """The text in one line of JSON; ValueError, which goes on after the line's number, where there is none."""
    try:
        row = parse_json(line)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
    text = row.get(field_name) if isinstance(row, dict) else row  # a line may be the text itself
    if isinstance(text, str):
        return text
    if isinstance(row, dict) and field_name in row:
        found = f"{field_name} is of type {type(text).__name__}"
    else:
        found = f"found: {', '.join(map(str, row)) if isinstance(row, dict) else type(row).__name__}"
    raise ValueError(f"has no text under {field_name!r} ({found[:200]}); choose the field with --set text.field=NAME")
