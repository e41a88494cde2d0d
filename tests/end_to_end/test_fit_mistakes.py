"""`bytecap fit` through the command line: every mistake a user can make, and products that do not belong together."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bytecap.quant.calibration_file import load_calibration, save_calibration
from bytecap.train.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import make_document
from tests.end_to_end.fits import Capture, listing
from tests.runs import SETTINGS, call

pytestmark = pytest.mark.slow


def test_budgets_too_small_exit_with_4_and_a_size(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """Exit 4 with the size that would do: the smallest file, or the smallest useful one."""
    assert call("fit", finished, "--cap", "1000", "--json", "--quiet") == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert "cannot be met" in error["message"] and 1000 < error["smallest_bytes"] < 5000
    assert call("fit", finished, "--cap", "1000", "--scheme", "pr1586", "--keep-small", "0", "--quiet") == 4
    assert "take at least" in capsys.readouterr().err
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    path = run / "calibration.safetensors"
    source_digest = json.loads((run / "model.fit.json").read_text())["source_digest"]
    known = load_calibration(path, source_digest)
    save_calibration(path, dataclasses.replace(known, unigram=known.loss + 1e-3))
    for more in ((), ("--dry-run",)):
        assert call("fit", run, "--cap", "3000", "--json", "--quiet", *more) == 4
        error = json.loads(capsys.readouterr().out)["error"]
        assert "worse than token frequencies alone" in error["message"] and error["useful_bytes"] > 3000
        assert f"from about {error['useful_bytes']:,} bytes it is not" in error["message"]


MISTAKES: list[tuple[list[str], int, str]] = [
    (["RUN", "--cap", "0"], 2, "a cap of 0 bytes leaves nothing"),
    (["RUN", "--cap", "-5"], 2, "'-5' is not a size in bytes"),
    (["RUN", "--cap", "-5kB"], 2, "'-5kB' is not a size in bytes"),
    (["RUN", "--cap", "3parsecs"], 2, "'3parsecs' is not a size in bytes; write a number with one of B, kB"),
    (["RUN", "--cap", ""], 2, "--cap has nothing behind it"),
    (["RUN", "--caps", ","], 2, "how large may the file be?"),
    (["RUN", "--cap", "7kB", "--caps", "7kB,8kB"], 2, "--cap and --caps exclude each other"),
    (["RUN", "--cap", "7kB", "--reserve", "7kB"], 2, "with 7,000 reserved leaves nothing"),
    (["RUN", "--reserve", "9kB"], 2, "a cap of 9,000 bytes with 9,000 reserved leaves nothing"),
    (["RUN", "--caps", "250,000"], 2, "reads as 2 caps, because commas separate caps; write 250000 or 250kB"),
    (["RUN", "--caps", "3,500"], 2, "reads as 2 caps, because commas separate caps; write 250000 or 250kB"),
    (["RUN", "--cap", "7kB", "--text"], 2, "--text has nothing behind it"),
    (["RUN", "--cap", "7kB", "--set", "run.seed=-1"], 2, "run.seed is -1; it must lie between 0"),
    (
        ["RUN", "--cap", "7kB", "--set", "quant.rd_lambda=1000"],
        2,
        "quant.rd_lambda is 1000.0; it must lie between 0 and 10",
    ),
    (["RUN", "--scheme", "int8", "--set", "quant.states=8"], 2, "--set quant.states changes nothing in this fit"),
    (["OTHER", "--cap", "7kB", "--tokenizer", "ALONE/tokenizer.model"], 2, "--tokenizer goes with a model of ours"),
    (["RUN", "--set", "artifact.cap_bytes=7000"], 2, "is not for a fit; give --cap"),
    (["RUN", "--set", "artifact.reserve_bytes=7000"], 2, "is not for a fit; give --reserve"),
    (["RUN", "--cap", "7kB", "--device", "nonsense"], 2, "it must be auto, cpu, cuda or cuda:N"),
    (["ALONE/w.safetensors", "--cap", "7kB", "--device", "cuda"], 7, "sees no GPU; use --device cpu"),
    (["RUN", "--cap", "7kB", "--out", "RUN/tokens/tokenizer.model"], 2, "is a file of another kind and would be lost"),
    (["RUN", "--cap", "7kB", "--out", "RUN/model"], 2, "is a file of the run itself"),
    (["RUN", "--cap", "7kB", "--out", "/dev/null"], 2, "is a file of another kind"),
    (["RUN", "--cap", "7kB", "--out", "ALONE/text.txt"], 2, "is a file of another kind and would be lost"),
    (["RUN", "--cap", "7kB", "--set", "train.steps=7"], 2, "--set train.steps changes nothing in this fit"),
    (["RUN", "--cap", "7kB", "--out", "RUN/record.json"], 2, "is a file of the run itself"),
    (["RUN", "--scheme", "int8", "--reserve", "7kB"], 2, "--reserve needs a cap"),
    (["RUN", "--cap", "7kB", "--compressor", "brotl"], 2, "did you mean brotli"),
    (["RUN", "--cap", "7kB", "--set", "quant.state=8"], 2, "did you mean states"),
    (["RUN", "--cap", "7kB", "--keep-small", "0"], 2, "belong to published schemes"),
    (["RUN", "--cap", "7kB", "--out", "RUN"], 2, "is a folder; give the file to write"),
    (["RUN", "--caps", "7kB", "--out", "RUN/record.json"], 2, "is one; give a folder"),
    (["ALONE/w.safetensors", "--cap", "7kB", "--out", "ALONE/w.safetensors"], 2, "would overwrite the checkpoint"),
    (["RUN", "--scheme", "pr158"], 2, "there is no scheme 'pr158' (did you mean pr1586?)"),
    (["RUN", "--scheme", "int8"], 2, "no matrix of this checkpoint has more than 65,536 elements; give --keep-small 0"),
    (["RUN", "--scheme", "int8", "--keep-small", "-1"], 2, "--keep-small is -1; it must not be negative"),
    (["RUN", "--scheme", "best_published", "--keep-small", "0"], 2, "has no size of its own; give --cap"),
    (["RUN", "--scheme", "pr1586", "--embedding-step", "0.5"], 2, "an embedding step belongs to best_published"),
    (["OTHER", "--scheme", "pr1586", "--keep-small", "0"], 2, "scheme pr1586 needs curvature measured on text"),
    (["OTHER", "--cap", "7kB", "--text", "ALONE/text.txt"], 2, "holds weights without a model"),
    (["ALONE/w.pt", "--cap", "7kB"], 2, "run `bytecap convert "),
    (["ALONE/w.safetensors", "--cap", "7kB", "--text", "ALONE/text.txt"], 2, "--text needs the tokenizer"),
    (["ALONE/none.safetensors", "--cap", "7kB"], 3, "does not exist; give a .safetensors file, or a run folder"),
    (["ALONE", "--cap", "7kB"], 3, "is not a run folder: it has no recipe.toml"),
    (["ALONE/text.txt", "--cap", "7kB"], 3, "is not a safetensors file"),
    (
        ["ALONE/w.safetensors", "--cap", "7kB", "--text", "ALONE/short.txt", "--tokenizer", "ALONE/tokenizer.model"],
        3,
        "tokens, at least 256 are needed (and ",
    ),
    (
        ["ALONE/w.safetensors", "--cap", "7kB", "--text", "ALONE/nothing", "--tokenizer", "ALONE/tokenizer.model"],
        3,
        "no text files at",
    ),
    (
        ["ALONE/w.safetensors", "--cap", "7kB", "--text", "ALONE/text.txt", "--tokenizer", "ALONE/text.txt"],
        3,
        "is not a SentencePiece model",
    ),
]


@pytest.mark.parametrize(("given", "code", "message"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES])
def test_mistakes_exit_with_a_sentence_and_write_nothing(
    finished: Path, alone: Path, foreign: Path, capsys: Capture, given: list[str], code: int, message: str
) -> None:
    """A sentence with what was found and what to do, the exit code, and nothing written."""
    (alone / "w.pt").touch()
    places = {"RUN": finished, "ALONE": alone, "OTHER": foreign}
    words = [str(places.get(word.split("/")[0], "")) + word[len(word.split("/")[0]) :]
             if word.split("/")[0] in places else word for word in given]  # fmt: skip
    before = [listing(place) for place in (finished, alone, foreign.parent)]
    assert call("fit", *words, "--quiet") == code
    error = capsys.readouterr().err
    assert error.startswith("bytecap: ") and message in error and "Traceback" not in error
    assert [listing(place) for place in (finished, alone, foreign.parent)] == before


def test_an_unfinished_run(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """Prepared only, or stopped on the way: the next step is named."""
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("checkpoint.safetensors", "model*"))
    for more in ((), ("--cap", "7kB"), ("--scheme", "int8", "--keep-small", "0")):
        assert call("fit", run, *more, "--quiet") == 3
        assert "or a run folder after `bytecap train`" in capsys.readouterr().err
    saved = load_checkpoint(finished / "checkpoint.safetensors")
    half = dataclasses.replace(saved.progressed, step=20, finished=False)
    save_checkpoint(run / "checkpoint.safetensors", dataclasses.replace(saved, progressed=half))
    for more in ((), ("--cap", "7kB")):
        assert call("fit", run, *more, "--quiet") == 3
        assert "has not finished; run `bytecap train` to go on" in capsys.readouterr().err


def test_a_damaged_file_is_made_again(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """The checkpoint lies beside it, so the run goes on."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    good = (run / "model.bcap").read_bytes()
    (run / "model.bcap").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert call("fit", run) == 0
    assert "made again from the checkpoint" in capsys.readouterr().err
    assert (run / "model.bcap").read_bytes() == good


def test_products_of_another_checkpoint(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """A calibration or a tokenizer that belongs to another model is refused."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    path, source_digest = (
        run / "calibration.safetensors",
        json.loads((run / "model.fit.json").read_text())["source_digest"],
    )
    save_calibration(path, dataclasses.replace(load_calibration(path, source_digest), source_digest="another"))
    assert call("fit", run, "--cap", "7kB", "--quiet") == 3
    assert "was measured on checkpoint another" in (text := capsys.readouterr().err) and "delete it" in text
    assert call("fit", run, "--scheme", "int8", "--keep-small", "0", "--quiet") == 0, "it is not needed here"
    other = tmp_path / "other"
    changes = {"text.vocab_size": 310, "train.steps": 2, "artifact.cap_bytes": SETTINGS["artifact.cap_bytes"]}
    for verb in ("prepare",):
        sets = [f"--set={key}={value}" for key, value in {**SETTINGS, **changes}.items()]
        texts = ("--text", json.loads((finished / "record.json").read_text())["recipe"]["text"]["paths"][0])
        assert call(verb, *texts, "--out", other, *sets, "--quiet") == 0
    given = ("--text", finished / "tokens" / "validation.jsonl", "--tokenizer", other / "tokens" / "tokenizer.model")
    assert call("fit", finished, "--cap", "7kB", *given, "--quiet") == 3
    assert "the tokenizer has 310 pieces, the model a vocabulary of 300" in capsys.readouterr().err


def test_the_tokenizer_of_another_text(alone: Path, tmp_path: Path, capsys: Capture) -> None:
    """Of the right size, but its pieces mean something else to a model that is sure of itself: that is asked about."""
    with safe_open(alone / "w.safetensors", framework="pt") as file:
        metadata = {"bytecap": file.metadata()["bytecap"]}  # without the digest, as in 0.1.0
    tensors = load_file(alone / "w.safetensors")
    save_file({n: 20 * t if "embedding" in n else t for n, t in tensors.items()}, tmp_path / "w.safetensors", metadata)
    other = tmp_path / "other"
    text = tmp_path / "backwards.txt"
    text.write_text("\n".join(make_document(seed)[::-1] for seed in range(40)))
    sets = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    assert call("prepare", "--text", text, "--out", other, *sets, "--quiet") == 0
    given = ("--text", text, "--tokenizer", other / "tokens" / "tokenizer.model", "--cap", "7kB")
    call("fit", tmp_path / "w.safetensors", *given, "--out", tmp_path / "a.bcap")
    assert "more than guessing (5.70): is it" in capsys.readouterr().err


def test_an_edited_recipe(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """A file would say that it is of a recipe with which nothing was trained; so neither way of fitting makes one."""
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    recipe = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(recipe.replace("steps = 40", "steps = 50"))
    for words in (("fit", folder), ("fit", folder, "--cap", "7kB"), ("fit", folder / "checkpoint.safetensors")):
        assert call(*words, "--quiet") == 3
        assert "was not trained with the recipe beside it, which was changed since" in capsys.readouterr().err


def test_the_command_that_is_printed_converts(tmp_path: Path, capsys: Capture) -> None:
    """Files of PyTorch's own kind as people have them: what the refusal says to run makes a file that is fitted."""
    torch.manual_seed(0)
    kinds = {
        "strided": {"conv.weight": torch.randn(8, 3, 3, 3).to(memory_format=torch.channels_last), "b": torch.zeros(8)},
        "nested": {"step": 7, "model_state": {"w": torch.randn(4, 4)}, "optimizer_state": {"lr": 0.1}},
        "mixed": {"w": torch.randn(4, 4), "version": 3},
    }
    for name, value in kinds.items():
        torch.save(value, tmp_path / f"{name} file.pt")
        assert call("fit", tmp_path / f"{name} file.pt", "--cap", "5kB", "-o", tmp_path / "o.bcap") == 2
        words = shlex.split(capsys.readouterr().err.partition("run `bytecap ")[2].partition("`")[0])
        assert words[0] == "convert" and call(*words) == 0
        assert call("fit", words[-1], "--cap", "5kB", "-o", tmp_path / f"{name}.bcap", "--quiet") == 0
