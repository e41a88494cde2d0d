"""The table of verbs: every help page, every example, every way of asking wrongly."""

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch
from safetensors.torch import save_file

from bytecap.commands.common import Verb
from bytecap.commands.verbs import VERBS
from bytecap.scoring.adaptations import ADAPTATIONS
from tests.conftest import make_document
from tests.convert.test_dequantize import TABLE as GPTQ
from tests.huggingface.models import make_folder
from tests.runs import SETTINGS, call

NAMES = [verb.call.__name__ for verb in VERBS]


@pytest.mark.parametrize("page", [(), *((name,) for name in NAMES)])
def test_help_pages(page: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every page keeps to the width, breaks no line early, and shows an example."""
    monkeypatch.setenv("COLUMNS", "70")
    assert call(*page, "--help") == 0
    text, end = capsys.readouterr()
    assert not end and "Examples:\n  bytecap " in text
    listed, examples = text.split("Examples:")
    lines = listed.splitlines()
    assert max(map(len, lines)) <= 70 and "\n\n\n" not in text
    for line, following in itertools.pairwise(lines):
        if following.startswith(" " * 26):  # a paragraph that goes on: its next word had no room
            assert len(line) + 1 + len(following.split()[0]) > 70 or len(line) <= 26 or line[25] != " ", line
    for example in re.findall("  bytecap .*", examples):
        assert example.split()[1] in (*NAMES, "VERB") and (not page or example.split()[1] == page[0])


def test_nothing_asked_shows_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """`bytecap` alone is `bytecap --help`."""
    assert call() == 0
    page = capsys.readouterr().out
    assert call("--help") == 0 and capsys.readouterr().out == page and all(f"  {name} " in page for name in NAMES)
    assert call("--version") == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS, ids=NAMES)
def test_examples_of_the_help_pages_run(
    verb: object, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the pages show is done, in a folder that has what they name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "runs/demo")
    for other in ("a", "b"):
        shutil.copytree(finished, f"runs/{other}")
    shutil.copy(finished / "model.bcap", "model.bcap")
    Path("my_folder").mkdir()
    for seed in range(12):
        (Path("my_folder") / f"{seed}.txt").write_text(make_document(seed))
    Path("my.txt").write_text(make_document(50))
    torch.save({"model": {"w": torch.ones(4, 4)}, "epoch": 1}, "checkpoint.pt")
    torch.save({"model": {"w": torch.ones(4, 4)}, "ema": {"module": {"w": torch.zeros(4, 4)}}}, "last.ckpt")
    with h5py.File("weights.h5", "w") as file:
        file["dense/kernel:0"] = [[1.0, 2.0], [3.0, 4.0]]
    Path("llama").mkdir()
    save_file({"w": torch.ones(4, 4)}, "llama/1.safetensors")
    Path("llama/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "1.safetensors"}}))
    Path("llama-gptq").mkdir()
    save_file(GPTQ, "llama-gptq/model.safetensors")
    if verb is not VERBS[NAMES.index("convert")]:
        save_file({"w": torch.randn(96, 64)}, "checkpoint.safetensors")
    if verb in (VERBS[NAMES.index("fit")], VERBS[NAMES.index("score")]):
        make_folder(Path("gpt2"), "gpt2")
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    if verb is VERBS[NAMES.index("train")]:
        assert call("prepare", "--text", "my_folder", "--out", "runs/new", "--quiet", *settings) == 0
    assert isinstance(verb, Verb)
    for example in verb.examples:
        words = shlex.split(example)[1:]
        if words[0] in ("run", "prepare"):
            words += [s for s in settings if s.split("=")[1] not in example]
            words += [] if "--text" in words else ["--text", "my_folder"]
        small = [word.replace("200kB", "8kB").replace("100kB,150kB,250kB", "7kB,8kB") for word in words]
        assert call(*small) == 0, (example, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nope", "there is no command 'nope'; choose one of run, prepare, train, fit, score,"),
        ("recipes --jso", "Did you mean --json?"),
        ("run a b", "nothing takes 'b'; put text with spaces into quotes, and repeat an option for each value"),
        ("score", "requires an argument"),
        ("fit x --cap", "--cap requires an argument"),
        ("score x --stride 8.9", "--stride is 8.9; it must be a whole number"),
        ("generate x --seed 1e3", "--seed is 1e3; it must be a whole number"),
        ("generate x --temperature warm", "temperature"),
        ("fit x --keep-small 9" + 5000 * "9", "it must be a whole number"),
        ("run --seed 0x10", "--seed is 0x10"),
        ("run --text", "--text"),
        ("inspect ''", "an argument is empty (is a variable of the shell unset?)"),
        ("fit x --cap 8kB -o ''", "-o has nothing behind it (is a variable of the shell unset?)"),
        ("run --seeds 0,1 --set run.seed=5", "--set run.seed contradicts the command line itself; give --seed"),
        ("prepare --text a --set text.paths=b", "give --text alone"),
        ("run --set train.steps=3 --set train.steps=4", "--set train.steps is given twice, 3 and 4"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and exit code 2; the same as JSON where that was asked for."""
    verb, *others = shlex.split(words)
    assert call(verb, *others) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("bytecap: ") and said in err and err.count("\n") == 1
    assert call(verb, "--json", *others) == 2
    out, again = capsys.readouterr()
    told = json.loads(out)["error"]
    assert told["kind"] == "ConfigError" and f"bytecap: {told['message']}\n" == again


def test_help_names_adaptations(capsys: pytest.CaptureFixture[str]) -> None:
    """Those there are, though the page is made without reading them."""
    assert call("score", "--help") == 0
    assert f": {', '.join(ADAPTATIONS.names())}, or none;" in " ".join(capsys.readouterr().out.split())


def test_help_is_light() -> None:
    """The pages need neither torch nor numpy."""
    code = (
        "import sys; from tests.runs import call; call('fit', '--help');"
        "print(sorted({'torch', 'numpy', 'rich.progress'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
