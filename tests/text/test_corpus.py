"""Documents come out as they went in, whatever they are packed in; what cannot be used is counted or refused."""

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from bytecap.core.errors import DataError
from bytecap.text import corpus as corpus_module
from bytecap.text.corpus import Corpus

TEXTS = ["first\r\ndocument\n", "zweites Dökument", "third 漢字"]


def write_rows(path: Path) -> Path:
    data = "".join(json.dumps({"text": t, "body": t.upper()}) + "\n" for t in TEXTS).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


def test_utf_16_is_told_apart(tmp_path: Path) -> None:
    """With the command that rewrites it."""
    (tmp_path / "a.txt").write_bytes("some text".encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "c.txt").write_bytes(b"\xffabc")
    corpus = Corpus((str(tmp_path),))
    with pytest.raises(DataError, match=r"2 UTF-16, which `iconv .* 1 not UTF-8; give files"):
        list(corpus.documents())
    assert sorted(corpus.skipped.items()) == [
        ("UTF-16, which `iconv -f UTF-16 -t UTF-8` rewrites", 2),
        ("not UTF-8", 1),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_json_lines_give_their_texts(tmp_path: Path, name: str) -> None:
    """Each packing gives the same documents, and the field can be chosen."""
    path = write_rows(tmp_path / name)
    assert list(Corpus((str(path),)).documents()) == TEXTS
    assert list(Corpus((str(path),), jsonl_field="body").documents()) == [t.upper() for t in TEXTS]


def test_files_folders_and_globs(tmp_path: Path) -> None:
    """A folder gives its text files in order, a glob what it matches; line ends and bytes stay as they are."""
    (tmp_path / "b.py").write_bytes(b"x = 1\r\n")
    (tmp_path / "a.txt").write_bytes(b"text\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_bytes(b"no")
    assert list(Corpus((str(tmp_path),)).documents()) == ["text\n", "x = 1\r\n"]
    assert list(Corpus((str(tmp_path / "*.py"),)).documents()) == ["x = 1\r\n"]


def test_default_is_the_standard_library() -> None:
    """Without a path the standard library's sources are read, without tests and installed packages."""
    files = Corpus().files()
    assert len(files) > 300
    assert not any({"site-packages", "test", "tests"} & set(f.parts[-4:-1]) for f in files)


def test_bad_text_is_counted_or_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 is skipped with a count, or an error where strict."""
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "mark.txt").write_text("a\u2581b", encoding="utf-8")
    corpus = Corpus((str(tmp_path),))
    assert list(corpus.documents()) == ["good"]
    assert corpus.skipped == {"not UTF-8": 1, "holds U+2581": 1}
    with pytest.raises(DataError, match=r"latin.txt is unusable.*text.strict=false"):
        list(Corpus((str(tmp_path),), strict=True).documents())


def test_missing_and_empty(tmp_path: Path) -> None:
    """A path without files and a corpus without text are errors that say what to do."""
    with pytest.raises(DataError, match=r"no text files at .*nothing"):
        list(Corpus((str(tmp_path / "nothing"),)).documents())
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match=r"no text in .*: all are empty; give files that hold text in UTF-8"):
        list(Corpus((str(tmp_path),)).documents())


def test_a_line_may_be_the_text_itself(tmp_path: Path) -> None:
    """As in the held-out text that a run keeps."""
    path = tmp_path / "a.jsonl"
    path.write_text('"x\\ny"\n{"text": "z"}\n')
    assert list(Corpus((str(path),)).documents()) == ["x\ny", "z"]


def test_wrong_rows_name_line_and_field(tmp_path: Path) -> None:
    """JSON lines that are not JSON or lack the field are errors with the line number."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n{"txt": "y"}\n')
    with pytest.raises(DataError, match=r"line 2 has no text under 'text' \(found: txt\)"):
        list(Corpus((str(path),)).documents())
    path.write_text('"x"\n7\n')
    with pytest.raises(DataError, match=r"line 2 has no text under 'text' \(found: int\)"):
        list(Corpus((str(path),)).documents())
    path.write_text('{"text": 7}\n')
    with pytest.raises(DataError, match=r"line 1 has no text under 'text' \(text is of type int\)"):
        list(Corpus((str(path),)).documents())
    path.write_text("{nonsense\n")
    with pytest.raises(DataError, match="line 1 is not JSON"):
        list(Corpus((str(path),)).documents())


def test_damaged_archive(tmp_path: Path) -> None:
    """A cut gzip file is an error, not a shorter corpus."""
    path = write_rows(tmp_path / "a.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match="cannot read"):
        list(Corpus((str(path),)).documents())


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_long_text_is_cut_at_line_ends_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """A text longer than one document becomes several that join to the original."""
    monkeypatch.setattr(corpus_module, "_BLOCK_BYTES", block)
    text = "".join(f"line {i} é漢\n" for i in range(200)) + "x" * 250
    for name, data in (("a.txt", text.encode()), ("a.txt.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        documents = list(Corpus((str(tmp_path / name),), document_length=100).documents())
        assert "".join(documents) == text
        assert len(documents) > 10 and all(len(d) <= 100 for d in documents)
        assert all(d.endswith("\n") for d in documents[:-4])


def test_zstd_in_frames_and_in_pieces(tmp_path: Path) -> None:
    """Several frames are one text; one that is cut short, or none at all, is refused, not read as far as it goes."""
    text = "".join(f"line {n} of a text\n" for n in range(30_000)).encode()
    whole = zstandard.compress(text[:200_000]) + zstandard.compress(text[200_000:])
    path = tmp_path / "a.txt.zst"
    path.write_bytes(whole)
    assert "".join(Corpus((str(path),)).documents()).encode() == text
    for data, message in (
        (whole[:-5], "cut short"),
        (whole[: len(whole) // 3], "cut short"),
        (b"plain text", "not zstd"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            list(Corpus((str(path),)).documents())


def test_endless_nesting(tmp_path: Path) -> None:
    """Is no JSON that anybody can read."""
    (tmp_path / "a.jsonl").write_text("[" * 200_000)
    with pytest.raises(DataError, match="line 1 is not JSON"):
        list(Corpus((str(tmp_path / "a.jsonl"),)).documents())


def test_one_bad_byte_loses_one_line(tmp_path: Path) -> None:
    """A line of JSON that is not UTF-8 is left out alone, and counted; with strict it is an error."""
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": f"line {number}"}).encode() for number in range(1000)]
    lines[1] = b'{"text":"\xff"}'
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    corpus = Corpus((str(path),))
    assert list(corpus.documents()) == [f"line {number}" for number in range(1000) if number != 1]
    assert corpus.skipped == {"lines not UTF-8": 1}
    with pytest.raises(DataError, match="byte 9 of line 2 cannot be decoded"):
        list(Corpus((str(path),), strict=True).documents())


@pytest.mark.parametrize("name", ["A.JSONL", "a.Jsonl.Gz", "a.jsonl.ZST"])
def test_names_are_read_as_they_are_matched(tmp_path: Path, name: str) -> None:
    """Capital letters in a suffix change nothing, in a folder or named alone."""
    data = write_rows(tmp_path / name.lower()).read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).write_bytes(data)
    (folder / "z.TXT").write_text("text")
    assert list(Corpus((str(folder),)).documents()) == [*TEXTS, "text"]
    assert list(Corpus((str(folder / name),)).documents()) == TEXTS


def test_a_name_with_brackets_is_itself_first(tmp_path: Path) -> None:
    """A file or folder of exactly that name goes before what the name would match."""
    (tmp_path / "a1.txt").write_text("matched")
    assert list(Corpus((str(tmp_path / "a[1].txt"),)).documents()) == ["matched"]
    (tmp_path / "a[1].txt").write_text("itself")
    assert list(Corpus((str(tmp_path / "a[1].txt"),)).documents()) == ["itself"]
    folder = tmp_path / "old [2019]*"
    folder.mkdir()
    (folder / "x.txt").write_text("inside")
    assert list(Corpus((str(folder),)).documents()) == ["inside"]


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_corrupt_archive(tmp_path: Path, suffix: str) -> None:
    """Bytes that cannot be unpacked are an error that names the file."""
    data = bytearray(gzip.compress(b'{"text": "the cap"}\n' * 999))
    data[15] ^= 0xFF
    path = tmp_path / f"a.{suffix}.gz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot read .*a.*gz: "):
        list(Corpus((str(path),)).documents())


def test_endless_integers(tmp_path: Path) -> None:
    """A number of five thousand digits is an error like any other that is no JSON of ours."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n{"id": ' + "7" * 5000 + ', "text": "y"}\n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        list(Corpus((str(path),)).documents())
