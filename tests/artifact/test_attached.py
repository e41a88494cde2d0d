"""Attached files come back as they were, count, and cannot lead a reader astray."""

import copy
import json
from typing import Any

import numpy as np
import pytest

from bytecap.artifact.attached import Attached, read_dtypes
from bytecap.artifact.inspect import tensor_rows
from bytecap.artifact.layout import ATTACHED, DTYPES, Section, parse, write
from bytecap.artifact.load import loads
from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.core.errors import ConfigError, FormatError
from bytecap.formats.floats import FloatTensor
from bytecap.formats.tensor import QuantizedModel
from tests.artifact.example import ABOUT, example_tokenizer
from tests.fuzz.containers import read_container, write_container

FILES = {"config.json": b'{"model_type": "gpt2"}', "vocab.json": b"", "tokenizer.model": bytes(range(256)) * 8}
TYPES = {"a": "BF16", "b": "BF16", "c": "F32"}
MODEL = QuantizedModel({name: FloatTensor("matrix", np.zeros((2, 3), np.float16)) for name in TYPES})
DATA = pack(None, MODEL, b"", ABOUT, ArtifactConfig(), Attached(FILES, TYPES))
PARSED = parse(DATA)


def changed(key: str, value: Any, raw: bytes | None = None) -> bytes:
    """The file with another entry of the header, or without it, or with another section."""
    header = copy.deepcopy(PARSED.header) | {key: value}
    if value is None:
        del header[key]
    kept = {name: PARSED.read(name) for name in PARSED.stored} | ({} if raw is None else {ATTACHED: raw})
    return write(header, [Section(name, "raw", data) for name, data in kept.items()])


def test_back_as_they_were() -> None:
    """Names, order and bytes; version 5; a row of the file's bytes, and the rows add up."""
    artifact = loads(DATA)
    assert list(artifact.attached.items()) == list(FILES.items()) and artifact.dtypes == TYPES
    assert DATA[4] == 5
    rows = {row.name: row.coded_bytes for row in tensor_rows(artifact)}
    assert sum(rows.values()) == len(DATA) and 0 < rows[ATTACHED] < 600


def test_nothing_attached_is_version_4() -> None:
    """To the byte: what is not there leaves no trace."""
    data = pack(None, MODEL, b"", ABOUT, ArtifactConfig())
    assert data == pack(None, MODEL, b"", ABOUT, ArtifactConfig(), Attached()) and data[4] == 4
    assert loads(data).attached == {} and loads(data).dtypes == {}
    with pytest.raises(FormatError, match="version 4 has attached, dtypes of version 5"):
        loads(_with_version(DATA, 4))
    with pytest.raises(FormatError, match="version 5 has nothing of version 5"):
        loads(_with_version(data, 5))


def _with_version(data: bytes, version: int) -> bytes:
    found = read_container(data)
    return write_container(version, json.dumps(found.header), found.sections)


ROWS = [[name, len(data)] for name, data in FILES.items()]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (ATTACHED, [], "must list 1 to 64 files"),
        (ATTACHED, [["a", 0]] * 65, "must list 1 to 64 files"),
        (ATTACHED, {"a": 1}, "must list 1 to 64 files"),
        (ATTACHED, [["../config.json", 22], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["a/b", 22], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [[".bashrc", 22], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["a\n", 22], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["..", 22], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["a" * 101, 22], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["config.json", True], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["config.json", -1], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [*ROWS, ["CONFIG.JSON", 0]], "stands twice"),
        (ATTACHED, [["config.json", 22, "zip"], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["config.json", 22, "bpe"], *ROWS[1:]], "the attached tokenizer"),
        (ATTACHED, [["config.json", 22, "pieces"], *ROWS[1:]], "the tokenizer's columns"),
        (ATTACHED, [["config.json", 22, "bpe", "bpe"], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, [["config.json", 22, []], *ROWS[1:]], "must be .plain name, bytes."),
        (ATTACHED, ROWS[:2], "raw bytes, needed 22"),
        (ATTACHED, [["config.json", 10**17]], "100,000,000,000,000,000 bytes together"),
        (ATTACHED, None, "section 'attached' belongs to no tensor"),
        (DTYPES, {"a": "F32"}, "must give a type under the empty name"),
        (DTYPES, {"": "F32", "d": "F16"}, "names of tensors"),
        (DTYPES, [], "must give a type"),
        (DTYPES, {"": "float"}, "dtypes name 'float'; known are F64"),
        (DTYPES, {"": ["F32"]}, "must give a type"),
    ],
)
def test_forged_entries_are_refused_by_name(key: str, value: Any, said: str) -> None:
    """Each wrong entry is refused by name."""
    with pytest.raises(FormatError, match=said):
        loads(changed(key, value))


def test_no_small_file_asks_for_much_memory() -> None:
    """A section that would unpack to more than 1 MiB and 64 times its stored bytes."""
    bomb = bytes(3 << 20)
    header = PARSED.header | {ATTACHED: [["bomb", len(bomb)]]}
    data = write(header, [Section("float16", "raw", PARSED.read("float16")), Section(ATTACHED, "lzma", bomb)])
    with pytest.raises(FormatError, match=r"have 3,145,728 bytes together, .* hold 1,0\d\d,\d\d\d at most"):
        loads(data)
    missing = write(PARSED.header, [Section("float16", "raw", PARSED.read("float16"))])
    with pytest.raises(FormatError, match="section 'attached' is missing"):
        loads(missing)


@pytest.mark.parametrize("files", [{"a/b": b""}, {"": b""}, {"a": b"", "A": b""}, {f"f{i}": b"" for i in range(65)}])
def test_names_that_are_not_written(files: dict[str, bytes]) -> None:
    """ConfigError before any file is made."""
    with pytest.raises(ConfigError, match="attached"):
        Attached(files)


def test_types_of_all() -> None:
    """The usual one under the empty name, and whatever differs from it."""
    assert Attached(dtypes=TYPES).header() == {DTYPES: {"": "BF16", "c": "F32"}}
    assert read_dtypes({"": "BF16", "c": "F32"}, TYPES) == TYPES


def test_pieces_in_columns() -> None:
    """A SentencePiece model lies in the file in columns, and comes back to the byte."""
    model = example_tokenizer()
    attached = Attached({"tokenizer.model": model})
    (row,) = attached.header()[ATTACHED]
    assert row[2] == "pieces" and row[1] != len(model)
    data = pack(None, MODEL, b"", ABOUT, ArtifactConfig(), attached)
    assert loads(data).attached == {"tokenizer.model": model}
    plain = pack(None, MODEL, b"", ABOUT, ArtifactConfig(), Attached({"other.model": model}))
    assert len(data) < len(plain)
