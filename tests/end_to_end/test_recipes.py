"""Every recipe file, from text to a record with both fits, at a size that takes seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bytecap.core import catalog
from bytecap.run import recipe as recipes
from tests.runs import arguments, call

pytestmark = pytest.mark.slow
CAP = 8_000


def toy(name: str) -> dict[str, Any]:
    """Settings of a recipe that are numbers of its scale, at the size of a toy."""
    model = recipes.resolve(name, track="laptop").model
    settings: dict[str, Any] = {
        "artifact.cap_bytes": CAP,
        "train.steps": 12,
        "quant.calibration_tokens": 1024,
        "quant.states": 8,
    }
    if model.rope_dims:
        settings["model.rope_dims"] = 4
    if "bigram_hash" in model.techniques:
        settings |= {"model.techniques.bigram_hash.buckets": 64, "model.techniques.bigram_hash.width": 4}
    return settings


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_it_runs_to_its_record(name: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both fits are under the cap and scored on the same tokens, next to the weights that they are of."""
    words = arguments(corpus, tmp_path / "run", **toy(name))
    words[1] = name
    assert call(*words, "--json", "--quiet") == 0
    record = json.loads(capsys.readouterr().out)
    source = record["recipe"]["source"]
    assert set(record["fits"]) == {"bytecap", *filter(None, [source["scheme"]])}
    assert all(fit["bytes"] <= CAP for fit in record["fits"].values())
    scores = record["scores"]
    exported = record["recipe"]["train"]["exported_weights"]
    assert ("compared" in scores) == bool(source["scheme"]) and ("last" in scores) == (exported != "last")
    assert len({scores[name]["tokens"] for name in scores}) == 1
    assert scores["before"]["bits_per_byte"] < 6 and scores["after"]["bits_per_byte"] < 6
    assert record["model"]["techniques"].keys() == record["recipe"]["model"]["techniques"].keys()


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_it_says_where_it_comes_from(name: str) -> None:
    """A source, a date, a scheme where a score is claimed, and what is missing where it is partial."""
    source = recipes.resolve(name, track="laptop").source
    assert source.url and source.date and (source.scheme or source.claimed_bpb is None)
    assert source.missing or source.status != "partial"


@pytest.mark.parametrize(
    ("name", "source", "claimed"),
    [
        ("baseline", "train_gpt.py", 1.2244),
        ("mixed_int6_int8", "pull/65", 1.1630),
        ("int5_mlp", "pull/219", 1.1541),
        ("boundary_int8", "pull/309", 1.1914),
        ("gradient_guided", "pull/332", 1.1320),
        ("adaptive_clip", "pull/1586", 1.0749),
    ],
)
def test_the_published_runs(name: str, source: str, claimed: float) -> None:
    """Each is there, with what its authors claim."""
    found = recipes.resolve(name, track="contest_16mb").source
    assert source in found.url and found.claimed_bpb == claimed
