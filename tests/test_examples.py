"""Every script in examples/ runs and says what its docstring promises."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from bytecap.export.targets import hf
from tests.export.examples import make_file
from tests.export.opened_here import open_here

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.name for path in (ROOT / "examples").glob("*.py")}
SAID = {
    "fit_a_module.py": ["original", "fitted", "nats per token"],
    "text_to_score.py": ["of 24,000 bytes", "after fitting", "bits per byte"],
    "compare_schemes.py": ["bytecap", "best_published"],
    "convolutional_net.py": ["original", "fitted", "of held-out pictures told apart"],
    "hugging_face_folder.py": ["of 15,000", "checked: logits of LlamaForCausalLM", "fitted", "'a small cat reads"],
    "lstm_language_model.py": ["original", "fitted", "nats per letter"],
    "mixture_of_experts.py": ["original", "fitted", "tokens of each expert"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_it_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, without arguments."""
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setattr(hf, "open_in_clean_process", open_here)  # a process of its own takes seconds, and has its tests
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    said = capsys.readouterr().out
    assert all(words in said for words in SAID[name]), said


@pytest.mark.slow
def test_a_file_is_read_without_the_heavy_side(finished: Path) -> None:
    """In a process of its own, because what is imported counts."""
    command: list[str | Path] = [sys.executable, ROOT / "examples" / "read_a_file.py", finished / "model.bcap"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "weights" in said and "of the heavy side none" in said


@pytest.mark.slow
def test_for_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each target that can hold the file, and a sentence for one that cannot."""
    monkeypatch.setattr(hf, "open_in_clean_process", open_here)
    for name, fields, said in (
        ("llama", {}, "gguf: 1"),
        ("softcap", {"logit_softcap": 30.0}, "gguf: model.logit_softcap"),
    ):
        make_file(**fields).save(tmp_path / f"{name}.bcap")  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "argv", ["", str(tmp_path / f"{name}.bcap"), str(tmp_path / name)])
        if name == "softcap":
            monkeypatch.setattr(hf.HuggingFace, "check", lambda *given: "nothing")
        runpy.run_path(str(ROOT / "examples" / "for_other_programs.py"), run_name="__main__")
        assert said in capsys.readouterr().out and (tmp_path / name / "hf" / "config.json").is_file()


def test_none_is_forgotten() -> None:
    """Each script has its test here."""
    assert {*SAID, "read_a_file.py", "for_other_programs.py"} == SCRIPTS
