"""A run makes two fits under one cap, our own and the published one, and its record shows both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bytecap.artifact.load import load
from bytecap.artifact.pack import ArtifactConfig
from bytecap.coding import general
from bytecap.core.errors import BackendError, ConfigError
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.run import recipe as recipes
from bytecap.run.fits import RunFit, keep_small, refuse_missing_compressors, run_fits
from bytecap.run.recipe import Recipe
from tests.runs import arguments, call

Capture = pytest.CaptureFixture[str]


def resolve(*overrides: str) -> Recipe:
    return recipes.resolve("baseline", track="laptop", overrides=list(overrides))


def test_the_choice_and_the_other_way() -> None:
    """Ours unless the recipe says otherwise; a scheme's name stands in the resolved recipe and its digest."""
    assert run_fits(resolve()) == (RunFit("model.bcap", "bytecap"), RunFit("compared.bcap", "int8"))
    published = resolve("artifact.scheme=as_published")
    assert published.artifact.scheme == "int8" and published.digest != resolve().digest
    assert published.digest == resolve("artifact.scheme=int8").digest
    assert run_fits(published) == (RunFit("model.bcap", "int8"), RunFit("compared.bcap", "bytecap"))
    assert run_fits(resolve("source.scheme=")) == (RunFit("model.bcap", "bytecap"),)
    assert resolve("source.scheme=").digest == resolve("artifact.over_cap=shrink").digest == resolve().digest


def test_small_matrices_follow_the_width() -> None:
    """A quarter of the squared width, as the published number is at the published width."""
    assert keep_small(resolve("model.d_model=512", "model.n_heads=8")) == 65_536
    assert (keep_small(resolve("artifact.keep_small=0")), keep_small(resolve())) == (0, 96 * 96 // 4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("artifact.scheme=as_published", "source.scheme="), "recipe baseline names no published scheme"),
        (("artifact.scheme=pr1568",), "there is no scheme 'pr1568' .did you mean pr1586"),
        (("source.scheme=int9",), "there is no scheme 'int9' .did you mean int8"),
        (
            ("artifact.scheme=int8", "train.hooks.fake_quantization.scheme=pr65"),
            "fake_quantization.scheme is pr65 and artifact.scheme is int8: training would read",
        ),
        (("artifact.over_cap=grow",), "artifact.over_cap must be"),
        (("artifact.keep_small=-1",), "artifact.keep_small is -1"),
    ],
)
def test_refused_before_any_work(overrides: tuple[str, ...], message: str) -> None:
    """Each names the key and what there is."""
    with pytest.raises(ConfigError, match=message):
        resolve(*overrides)


def test_what_was_never_published_has_no_published_fit() -> None:
    """A source without a claim names its scheme to compare with."""
    with pytest.raises(ConfigError, match=r"laptop_best was never published.* --set artifact.scheme=best_published"):
        recipes.resolve("laptop_best", track="laptop", overrides=["artifact.scheme=as_published"])


def test_a_missing_compressor_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its scheme before training; no other takes its place."""

    def missing() -> Any:
        raise BackendError("this needs the zstandard package: pip install zstandard")

    monkeypatch.setattr(general, "import_zstandard", missing)
    refuse_missing_compressors(resolve())
    with pytest.raises(BackendError, match="scheme pr219 stores its file with zstd: this needs the zstandard package"):
        refuse_missing_compressors(resolve("source.scheme=pr219"))


@pytest.mark.slow
def test_the_record_shows_both(finished: Path) -> None:
    """Each with its file's bytes under the cap and its score; the published one has its own steps and compressor."""
    record = json.loads((finished / "record.json").read_text())
    ours, published = record["fits"]["bytecap"], record["fits"]["int8"]
    for fit, score in ((ours, "after"), (published, "compared")):
        assert fit["bytes"] == (finished / fit["file"]).stat().st_size <= 9000
        assert fit["bits_per_byte"] == record["scores"][score]["bits_per_byte"]
    assert (published["as_published"], published["step_scale"], published["compressor"]) == (True, 1.0, "zlib")
    made = load(finished / "compared.bcap")
    assert {size.codec for size in made.sizes} == {"zlib"}
    stored = made.quantized.tensors["blocks.0.mlp.up.weight"]
    assert isinstance(stored, PerChannelQuantized) and stored.scales_O.min() == pytest.approx(1 / 127, rel=1e-3)


@pytest.mark.slow
def test_as_published_is_the_model(finished: Path, corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    """The published fit is the model and ours lies beside it; over the cap it shrinks, loudly, or is refused."""
    from_tokens = tmp_path / "run"
    wanted: dict[str, Any] = {"artifact.scheme": "as_published", "source.scheme": "pr65", "artifact.cap_bytes": 6000}
    assert call(*arguments(corpus, from_tokens, **wanted), "--json") == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert "scheme pr65 as published takes 6," in err and "over the cap of 6,000; its steps are multiplied by" in err
    published = record["fits"]["pr65"]
    assert published["file"] == "model.bcap" and 5900 < published["bytes"] <= 6000 < published["own_bytes"]
    assert not published["as_published"] and published["step_scale"] > 1
    assert record["fits"]["bytecap"]["file"] == "compared.bcap"
    assert call("score", from_tokens, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["bits_per_byte"] == published["bits_per_byte"]
    shutil.rmtree(from_tokens)
    assert call(*arguments(corpus, from_tokens, **wanted, **{"artifact.over_cap": "refuse"}), "--quiet") == 4
    assert "takes 6," in capsys.readouterr().err and not (from_tokens / "model.bcap").exists()


@pytest.mark.slow
def test_what_cannot_be_compared_is_noted(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    """A half-precision embedding that no step can bring under the cap costs the comparison, not the run."""
    changes: dict[str, Any] = {"quant.calibration_tokens": 0, "source.scheme": "pr1586", "train.steps": 2}
    assert call(*arguments(corpus, tmp_path / "run", **changes), "--json") == 0
    out, err = capsys.readouterr()
    assert "there is nothing to compare with: scheme pr1586 cannot be carried out (scheme pr1586 needs curvature" in err
    record = json.loads(out)
    assert set(record["fits"]) == {"bytecap"} and "compared" not in record["scores"]


@pytest.mark.slow
def test_weights_that_are_not_exported_are_scored(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    """Last, averaged and fitted weights on the same tokens."""
    changes = {"train.hooks.ema.decay": 0.9, "train.exported_weights": "ema", "train.steps": 20}
    assert call(*arguments(corpus, tmp_path / "run", **changes)) == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    scores = record["scores"]
    assert len({scores[name]["tokens"] for name in ("before", "last", "after", "compared")}) == 1
    assert scores["before"]["bits_per_byte"] != scores["last"]["bits_per_byte"]
    shown = capsys.readouterr().out
    assert "last weights, not fitted" in shown and "fitted by int8" in shown


def test_defaults_change_no_file() -> None:
    """A recipe without the new settings has the digest that it had."""
    assert (
        ArtifactConfig().scheme == "" and ArtifactConfig().over_cap == "shrink" and ArtifactConfig().keep_small is None
    )
