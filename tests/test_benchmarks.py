"""Every script in benchmarks/ explains itself, and those that can run in seconds do."""

import contextlib
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import make_document
from tests.runs import SETTINGS, call

FOLDER = Path(__file__).parents[1] / "benchmarks"
PARTS = ("fit_measures.py", "ngram_table.py", "peer_training.py", "peer_worker.py", "spread.py")
"""What scripts import."""
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in PARTS)
TINY = ["model.n_layers=2", "model.d_model=16", "model.d_ff=32", "train.batch=2", "train.context=64"]


def run(monkeypatch: pytest.MonkeyPatch, name: str, *words: str) -> None:
    """One script in this process, with the folder of scripts on the path as it is when one is called."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(FOLDER / name), run_name="__main__")


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_explains_itself(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All that it imports is there, and --help says what it is for."""
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, name, "--help")
    assert left.value.code == 0 and "usage:" in capsys.readouterr().out


@pytest.mark.slow
def test_speeds_are_printed_with_a_ratio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Rates are printed with a ratio, on a model that takes no time."""
    run(monkeypatch, "scoring_speed.py", "300", *TINY)
    assert "streaming  " in (found := capsys.readouterr().out) and "times stride 64" in found
    run(monkeypatch, "training_speed.py", "--steps", "5", "--shapes", "3x72")
    assert "  3x72 " in capsys.readouterr().out


@pytest.mark.slow
def test_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The script for a machine with a GPU runs without one, and then the device agrees with itself."""
    sets = [*TINY, "model.n_heads=2", "model.n_kv_heads=1", "text.vocab_size=300", "train.micro_batch=2"]
    run(
        monkeypatch, "gpu.py", "--device", "cpu", "--recipes", "baseline", "--steps", "1", *(f"--set={s}" for s in sets)
    )
    found = capsys.readouterr().out
    assert found.count("gradients 0.0e+00") == 2 and "ms a step of 128 tokens" in found


@pytest.mark.slow
def test_unused_bytes(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two caps on the smallest run."""
    run(monkeypatch, "unused_bytes.py", str(finished), "2")
    assert "2 caps from" in capsys.readouterr().out


@pytest.mark.slow
def test_fit_vs_published(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each side at equal bytes, with the ratio."""
    run(monkeypatch, "fit_vs_published.py", "--rates", "6.0", "--seeds", "0", "--tokens", "1024", str(finished))
    assert "KL ratio" in capsys.readouterr().out


@pytest.mark.slow
def test_recipes_on_laptop(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row with both fits and the claim; a second call reads the finished run and adds another recipe."""

    real = subprocess.run

    def in_this_process(command: list[str], **options: Any) -> Any:
        if command[1:3] != ["-m", "bytecap"]:
            return real(command, **options)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = call(*command[3:])
        return SimpleNamespace(returncode=code, stdout=said.getvalue())

    monkeypatch.setattr(subprocess, "run", in_this_process)  # seven processes would each import torch
    settings = {**SETTINGS, "train.steps": 8, "quant.calibration_tokens": 512, "quant.states": 8}
    words = [f"--set={name}={value}" for name, value in settings.items() if name != "artifact.cap_bytes"]
    words += ["--text", str(corpus), "--cap", "9kB", "--seeds", "0", "--out", str(tmp_path)]
    for names in ("baseline", "baseline,mixed_int6_int8"):
        run(monkeypatch, "recipes_on_laptop.py", "--recipes", names, *words)
        rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
        assert [row[0].strip() for row in rows[2:]] == names.split(",") and {len(row) for row in rows} == {11}
    assert rows[2][-1].strip() == "1.2244" and int(rows[2][4].replace(",", "")) < int(rows[2][7].replace(",", ""))


@pytest.mark.slow
def test_reading_code() -> None:
    """In a process of its own, because what is imported counts."""
    done = subprocess.run([sys.executable, FOLDER / "reading_code.py"], capture_output=True, text=True, check=True)
    assert "by brotli-11" in done.stdout


@pytest.mark.slow
def test_peers_in_equal_bytes(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row for the run and one for the n-grams, in at most its bytes; their probabilities sum to one."""
    run(monkeypatch, "peers_in_equal_bytes.py", str(finished), "--peers", "ngram")
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("byte n-grams"))
    size, bits = row.split()[-3:-1]
    assert 0 < int(size.replace(",", "")) <= 9000 and 0.5 < float(bits) < 4
    from ngram_table import count_ngrams, fit_table

    text = b"".join(make_document(seed).encode() for seed in range(9))
    table = fit_table(count_ngrams(text, 5), 1500, [text[:500]])
    assert table.size <= 1500 and table.order > 1
    for context in (b"", b"a mo", b"token", b"zzzz", text[100:105]):
        assert sum(table.probability(context, byte) for byte in range(256)) == pytest.approx(1)


@pytest.mark.slow
def test_adaptation_table(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shares of stride 64 (plain windows, the context being 32) over two runs; nothing is measured twice."""
    plain = json.loads((finished / "record.json").read_text("utf-8"))["scores"]["after_plain"]["bits_per_byte"]
    words = [f"tiny={finished},{finished}", "--results", str(tmp_path / "results.json"), "--rows"]
    whole = []
    for _ in range(2):
        run(monkeypatch, "adaptation_table.py", *words, "^streaming")
        whole.append([line.split("|")[1:3] for line in capsys.readouterr().out.splitlines() if line[0] == "|"])
    assert whole[0] == whole[1] and whole[0][3][1].split()[0] == f"{plain:.4f}" and len(whole[0]) == 5
    run(monkeypatch, "adaptation_table.py", *words, "earlier", "--targets", "1500")
    lines = capsys.readouterr().out.splitlines()
    assert int(lines[2].split()[2].replace(",", "")) <= 1500 and len(lines) == 6
    assert all(0.3 < float(line.split("|")[2].split()[0]) < 1.05 for line in lines[4:]), lines
