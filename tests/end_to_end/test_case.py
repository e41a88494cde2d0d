"""A run with its case factored out: the file alone scores the original bytes and writes capitals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bytecap.artifact.load import load
from bytecap.artifact.tokenizer import artifact_tokenizer
from tests.conftest import make_document
from tests.runs import arguments, call

pytestmark = pytest.mark.slow


def test_run_score_and_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but the file is needed, and nothing has to be said about it."""
    folder, out = tmp_path / "corpus", tmp_path / "run"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02d}.txt").write_text(make_document(i).title())
    assert call(*arguments(folder, out, **{"text.transform": "case"})) == 0
    record = json.loads((out / "record.json").read_text())
    lines = (out / "tokens" / "validation.jsonl").read_bytes().splitlines()
    raw = sum(len(json.loads(line).encode()) for line in lines)
    assert record["byte_check"]["counted"] == record["byte_check"]["raw"] == record["byte_check"]["decoded"] == raw
    assert record["scores"]["after"]["text_bytes"] == raw and record["artifact"]["bytes"] <= 9000
    assert artifact_tokenizer(load(out / "model.bcap")).transform == "case"
    capsys.readouterr()
    other = tmp_path / "other.txt"
    other.write_text("The CAP of İstanbul \uf5c0 Straße, Σίσυφος fooBar\n" * 20)
    assert call("score", out / "model.bcap", "--text", other, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["text_bytes"] == other.stat().st_size
    assert call("generate", out / "model.bcap", "The MODEL Of", "--tokens", "60", "--json") == 0
    text = json.loads(capsys.readouterr().out)["text"]
    assert text.startswith("The MODEL Of") and not any("\uf5c0" <= c <= "\uf5c7" for c in text)
    assert any(c.isupper() for c in text[len("The MODEL Of") :])
