"""`bytecap fit --scheme`: the published schemes through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.fits import Capture, fitted
from tests.runs import call

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("scheme", "format", "measured"),
    [("int8", "row scale", False), ("pr65", "row scale", False), ("pr1586", "row scale", True),
     ("pr1797", "row scale + rank 4", True)],
)  # fmt: skip
def test_published_schemes_make_loadable_files(
    finished: Path, tmp_path: Path, capsys: Capture, scheme: str, format: str, measured: bool
) -> None:
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
    """Finer or coarser steps than published fill a cap; below the smallest file nothing is written.

    Finer ones need more than 8 bits, tensor by tensor, and the size jumps with each by up to some 100 bytes.
    """
    given = (finished, "--scheme", "int8", "--keep-small", "0", "--out", tmp_path / "a.bcap")
    for cap, most_unused in ((5000, 64), (9000, 250)):
        (report,) = fitted(capsys, *given, "--cap", str(cap))
        assert 0 <= report["unused_bytes"] == cap - report["bytes"] <= most_unused
        assert (report["step_scale"] > 1) == (cap == 5000)
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
