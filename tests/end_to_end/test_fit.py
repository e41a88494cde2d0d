"""`bytecap fit` through the command line: our fit, the published schemes, and every mistake a user can make."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bytecap.artifact.load import load
from bytecap.core.digest import digest_bytes
from bytecap.quant.calibration_file import load_calibration, save_calibration
from tests.conftest import make_document
from tests.runs import SETTINGS, call

CAP = 7000
WIDER_THAN_THE_SLACK = 200
Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the run outside its folder, its tokenizer and a text beside it."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(finished / "checkpoint.safetensors", folder / "w.safetensors")
    shutil.copy(finished / "tokens" / "tokenizer.model", folder / "tokenizer.model")
    (folder / "text.txt").write_text("\n".join(make_document(seed) for seed in range(100, 110)))
    (folder / "short.txt").write_text("the model has one cap")
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of somebody else."""
    path = tmp_path_factory.mktemp("foreign") / "other.safetensors"
    torch.manual_seed(0)
    names = ("wte.weight", "h.0.attn.weight", "h.0.mlp.up.weight")
    save_file({name: torch.randn(64, 48) for name in names} | {"ln.weight": torch.ones(48)}, path)
    return path


def fitted(capsys: Capture, *given: str | Path | int) -> list[dict[str, Any]]:
    """The report that a successful fit prints."""
    capsys.readouterr()
    assert call("fit", *map(str, given), "--json", "--quiet") == 0
    rows: list[dict[str, Any]] = next(iter(json.loads(capsys.readouterr().out).values()))
    return rows


def listing(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): digest_bytes(p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_one_cap(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """The file asked for, just under the cap without its reserve, with its report beside it; it can be inspected."""
    out = tmp_path / "deep" / "small.bcap"
    (report,) = fitted(
        capsys, finished, "--cap", "7.5kB", "--reserve", "500", "--compressor", "zlib", "-o", out
    )  # fmt: skip
    assert report["bytes"] == out.stat().st_size and report["file"] == str(out) and report["scheme"] == "bytecap"
    assert (report["cap_bytes"], report["reserve_bytes"]) == (CAP + 500, 500)
    assert 0 <= report["unused_bytes"] == CAP - report["bytes"] < WIDER_THAN_THE_SLACK
    assert json.loads(out.with_suffix(".fit.json").read_text()) == report
    assert report["divergence"]["kl"] > 0 and report["bits_per_byte"]["kl"] > 0
    assert sum(report["loss_shares"].values()) == pytest.approx(1.0)
    assert report["bits_per_weight"] == 8 * report["bytes"] / load(out).quantized.weights
    assert {size.codec for size in load(out).sizes} == {"raw", "zlib"}
    assert call("inspect", out) == 0 and "of the loss" in capsys.readouterr().out


def test_the_cap_of_the_run(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """Holds where none is given, the reserve taken off."""
    (report,) = fitted(capsys, finished, "--reserve", "1kB", "--out", tmp_path / "a.bcap")
    assert report["cap_bytes"] == SETTINGS["artifact.cap_bytes"] >= report["bytes"] + 1000


def test_distilled(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """Tensors rounded one after another make a file of the model like any other, nearer to the original."""
    kl = []
    for steps in (0, 30):
        out, setting = tmp_path / f"{steps}.bcap", f"--set=quant.distill_steps={steps}"
        (report,) = fitted(capsys, finished, "--cap", "2500", "--out", out, setting)
        assert report["bytes"] <= 2500 and load(out).model().spec.n_layers == SETTINGS["model.n_layers"]
        kl.append(report["divergence"]["kl"])
    assert kl[1] < kl[0]


def test_the_screen(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """What a person reads names the file, the size, the cap and the divergence."""
    out = tmp_path / "a.bcap"
    assert call("fit", finished, "--scheme", "pr1586", "--keep-small", "0", "--cap", "5000", "--out", out) == 0
    text = capsys.readouterr().out
    for words in (str(out), "pr1586", "of 5,000 (", "unused), ", "bits per weight", "KL to the original", " ± "):
        assert words in text


def test_several_caps(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """A file for each in the folder, and the curve through them as numbers and as a picture."""
    rows = fitted(capsys, finished, "--caps", "5kB,7kB", "--out", tmp_path / "curve")
    assert [row["cap_bytes"] for row in rows] == [5000, 7000]
    names = {f"model-{cap}{end}" for cap in (5000, 7000) for end in (".bcap", ".fit.json")}
    assert set(listing(tmp_path / "curve")) == names | {"curve.json", "curve.svg"}
    assert all(load(Path(row["file"])).size_bytes == row["bytes"] <= row["cap_bytes"] for row in rows)
    assert json.loads((tmp_path / "curve" / "curve.json").read_text()) == rows
    root = ElementTree.parse(tmp_path / "curve" / "curve.svg").getroot()
    assert sum(element.get("class") == "marker" for element in root.iter()) == 2


def test_one_cap_of_several(foreign: Path, tmp_path: Path, capsys: Capture) -> None:
    """A list of one is a list; without text there is no picture, and that is said."""
    given = ("fit", foreign, "--scheme", "int8", "--keep-small", "0", "--caps", "20kB", "--out", tmp_path / "c")
    assert call(*given) == 0
    assert set(listing(tmp_path / "c")) == {"model-int8-20000.bcap", "model-int8-20000.fit.json", "curve-int8.json"}
    printed = capsys.readouterr()
    assert "the curve has no picture" in printed.err and "curve-int8.json" in printed.out


def test_a_dry_run_writes_nothing(finished: Path, capsys: Capture) -> None:
    """Size within a few percent of the cap, a loss, and not a file more than before."""
    before = listing(finished)
    rows = fitted(capsys, finished, "--caps", "5kB,7kB", "--dry-run")
    assert listing(finished) == before
    for row in rows:
        assert row["predicted_bytes"] == pytest.approx(row["cap_bytes"], rel=0.04)
    assert rows[0]["predicted_increase_nats"] > rows[1]["predicted_increase_nats"] > 0
    assert call("fit", finished, "--scheme", "pr1586", "--keep-small", "0", "--dry-run", "--quiet") == 0
    assert "nats per token" in capsys.readouterr().out
    (row,) = fitted(capsys, finished, "--scheme", "int8", "--keep-small", "0", "--dry-run")
    assert row["cap_bytes"] is None and row["predicted_increase_nats"] is None and listing(finished) == before
    assert call("fit", finished, "--cap", "7kB", "--dry-run", "--set", "quant.calibration_tokens=512") == 0
    assert "measured again" in capsys.readouterr().err and listing(finished) == before, "the run's own stays"


def test_a_checkpoint_outside_its_folder(alone: Path, tmp_path: Path, capsys: Capture) -> None:
    """With text and tokenizer it is measured and compared; the file says that its recipe is not known."""
    out = tmp_path / "a.bcap"
    given = (alone / "w.safetensors", "--text", alone / "text.txt", "--tokenizer", alone / "tokenizer.model")
    (report,) = fitted(capsys, *given, "--cap", CAP, "--out", out)
    assert report["bytes"] <= CAP and report["divergence"]["kl"] > 0 and report["predicted_increase_nats"] > 0
    artifact = load(out)
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps({"body": make_document(seed)}) + "\n" for seed in range(100, 110)))
    field = ("--text", lines, "--set", "text.field=body")
    (again,) = fitted(capsys, alone / "w.safetensors", "--tokenizer", alone / "tokenizer.model", *field, "--cap", CAP)
    assert again["divergence"]["kl"] > 0
    assert call("score", out, *field, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["bits_per_byte"] > 0
    assert artifact.tokenizer == (alone / "tokenizer.model").read_bytes() and artifact.made_from["recipe"] == ""


def test_weights_without_text(foreign: Path, tmp_path: Path, capsys: Capture) -> None:
    """Somebody else's weights are fitted from themselves, and it is said that nothing was measured."""
    assert call("fit", foreign, "--cap", "6000", "--out", tmp_path / "a.bcap") == 0
    printed = capsys.readouterr()
    assert (
        "these are weights without their model" in printed.err
        and "KL" not in printed.out
        and "predicted +" not in printed.out
    )
    report = json.loads((tmp_path / "a.fit.json").read_text())
    assert report["bytes"] <= 6000 and report["divergence"] is None and report["predicted_increase_nats"] is None


@pytest.mark.parametrize(
    ("scheme", "format", "measured"),
    [("int8", "row scale", False), ("pr65", "row scale", False), ("pr1586", "row scale", True),
     ("pr1797", "row scale + rank 4", True)],
)  # fmt: skip
def test_schemes(finished: Path, tmp_path: Path, capsys: Capture, scheme: str, format: str, measured: bool) -> None:
    """Of their own size: loadable, compared with the original, the same report as ours; only some are measured."""
    run = tmp_path / "run"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("calibration.safetensors", "model*"))
    (report,) = fitted(capsys, run, "--scheme", scheme, "--keep-small", "0")
    path = run / f"model-{scheme}.bcap"
    assert report["file"] == str(path) and report["bytes"] == path.stat().st_size and report["scheme"] == scheme
    assert report["cap_bytes"] is None and report["unused_bytes"] is None and report["keep_small"] == 0
    assert 0 < report["divergence"]["kl"] < 0.05
    assert (report["predicted_increase_nats"] is not None) == measured == (run / "calibration.safetensors").exists()
    assert call("inspect", path, "--json") == 0
    assert any(row["format"].endswith(format) for row in json.loads(capsys.readouterr().out)["tensors"])
    assert call("score", path, "--json", "--quiet") == 0


@pytest.mark.parametrize("scheme", ["pr1586", "pr1797", "best_published"])
def test_schemes_under_a_cap(finished: Path, tmp_path: Path, capsys: Capture, scheme: str) -> None:
    """The step_scale is turned until the file is just under the cap."""
    given = ("--scheme", scheme, "--keep-small", "0", "--cap", "4500", "--out", tmp_path / "a.bcap")
    (report,) = fitted(capsys, finished, *given)
    assert 0 <= 4500 - report["bytes"] <= 64 and report["bytes"] == (tmp_path / "a.bcap").stat().st_size


def test_a_scheme_by_range_under_any_cap(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """Finer or coarser steps than published fill a cap; below the smallest file nothing is written."""
    given = (finished, "--scheme", "int8", "--keep-small", "0", "--out", tmp_path / "a.bcap")
    for cap in (5000, 9000):
        (report,) = fitted(capsys, *given, "--cap", str(cap))
        assert 0 <= report["unused_bytes"] == cap - report["bytes"] <= 64 and (report["step_scale"] > 1) == (
            cap == 5000
        )
    (tmp_path / "a.bcap").unlink()
    assert call("fit", *given, "--cap", "1000", "--json", "--quiet") == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert 1000 < error["smallest_bytes"] < 5000 and not (tmp_path / "a.bcap").exists()


def test_a_scheme_that_is_too_small_to_clip_less(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """With few levels a wide cap is not filled: smaller steps would only clip."""
    given = ("--scheme", "pr1586", "--keep-small", "0", "--out", tmp_path / "a.bcap")
    (wide,) = fitted(capsys, finished, *given, "--cap", "20kB")
    (own,) = fitted(capsys, finished, *given)
    assert own["bytes"] < wide["bytes"] < 10_000 and wide["step_scale"] == pytest.approx(4 / 12)
    assert wide["divergence"]["kl"] < own["divergence"]["kl"]


def test_budgets(finished: Path, tmp_path: Path, capsys: Capture) -> None:
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
    (["RUN", "--cap", "3parsecs"], 2, "'3parsecs' is not a size in bytes; write a number with one of B, kB"),
    (["RUN", "--cap", ""], 2, "'' is not a size in bytes"),
    (["RUN", "--caps", ","], 2, "how large may the file be?"),
    (["RUN", "--cap", "7kB", "--caps", "7kB,8kB"], 2, "--cap and --caps exclude each other"),
    (["RUN", "--cap", "7kB", "--reserve", "7kB"], 2, "with 7,000 reserved leaves nothing"),
    (["RUN", "--reserve", "9kB"], 2, "a cap of 9,000 bytes with 9,000 reserved leaves nothing"),
    (["RUN", "--caps", "250,000"], 2, "reads as 2 caps, commas part them; write 250000 or 250kB"),
    (["RUN", "--caps", "3,500"], 2, "reads as 2 caps, commas part them; write 250000 or 250kB"),
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
    (["RUN", "--scheme", "pr158"], 2, "there is no scheme 'pr158'; did you mean pr1586?"),
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
def test_mistakes(
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
    from bytecap.train.checkpoint import load_checkpoint, save_checkpoint

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


def test_facts_that_are_none(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """A file without its report, or beside other things, is inspected all the same."""
    shutil.copy(finished / "model.bcap", tmp_path / "a.bcap")
    for text in ("{", "[]", "{}"):
        (tmp_path / "a.fit.json").write_text(text)
        assert call("inspect", tmp_path / "a.bcap") == 0
        assert "no share of the loss is shown" in capsys.readouterr().err


def test_help_is_complete(capsys: Capture) -> None:
    """The options of schemes are explained where they are."""
    assert call("fit", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("--scheme", "--keep-small", "small models need 0", "--embedding-step", "--compressor", "--dry-run"):
        assert words in text
