"""What is printed cannot be told to do anything by a file, and who reads it may go away."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bytecap.commands.output import exit_with_error, print_result, warn
from bytecap.core.errors import DataError
from bytecap.report.console import Console
from bytecap.report.tables import columns
from tests.runs import call

EVIL = "\x1b]0;owned\x07\x9b2J\rforged"


def clean(text: str) -> bool:
    """Holds no control character but line feeds."""
    return not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in text)


def test_every_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results, JSON, warnings, errors, notes, live lines, tables, the log."""
    print_result({"text": EVIL}, False, f"one\n{EVIL}")
    print_result({"text": EVIL}, True, EVIL)
    warn(f"{EVIL}\nbytecap: done")
    for as_json in (False, True):
        with pytest.raises(SystemExit):
            exit_with_error(DataError(EVIL, name=EVIL), as_json=as_json)
    console = Console()
    console.log_to(tmp_path / "log.txt")
    with console.stage("fit"):
        console.note(f"{EVIL}\nforged")
        console.update(1, 2, EVIL)
    print(columns([["a", f"{EVIL}\nforged row"]]))
    out, err = capsys.readouterr()
    assert clean(out) and clean(err) and clean((tmp_path / "log.txt").read_text())
    assert "forged row" in out and not any(line.startswith("forged") for line in (out + err).splitlines())


def test_json_says_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Escaping is JSON's own: whoever parses it gets the very text."""
    print_result({"text": EVIL}, True, "")
    assert json.loads(capsys.readouterr().out) == {"text": EVIL}


def test_a_corpus_with_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key of a line of JSON is quoted in an error, and does nothing."""
    (tmp_path / "e.jsonl").write_text(json.dumps({EVIL: 1}) + "\n")
    assert call("prepare", "--text", tmp_path / "e.jsonl", "--out", tmp_path / "run") == 3
    assert clean(capsys.readouterr().err)


def bytecap(*words: str, **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bytecap", *words], stderr=subprocess.PIPE, **streams)  # type: ignore


@pytest.mark.slow
@pytest.mark.parametrize("words", [("inspect", "RUN"), ("--help",), ("recipes", "--json")])
def test_a_reader_that_stops(words: tuple[str, ...], finished: Path) -> None:
    """`bytecap inspect FILE | head -1` ends without a traceback."""
    with bytecap(*(str(finished) if w == "RUN" else w for w in words), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 128 + signal.SIGPIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [("recipes",), ("nope", "--json"), ("--help",)])
def test_a_full_disk(words: tuple[str, ...]) -> None:
    """Said in one line."""
    with Path("/dev/full").open("wb") as full, bytecap(*words, stdout=full) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert said.count(b"\n") <= 1 and b"Traceback" not in said and process.wait() in (2, 7)


@pytest.mark.skipif(os.name != "posix", reason="closes a file descriptor in the child")
def test_no_stdout_at_all() -> None:
    """`bytecap recipes >&-` has nowhere to print to and says nothing."""
    done = subprocess.run(f"{sys.executable} -m bytecap recipes >&-", shell=True, capture_output=True)
    assert done.stderr == b"" and done.returncode == 0
