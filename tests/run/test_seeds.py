"""Several seeds of one recipe: a folder each, tokens once, continued, and summed up."""

import json
import shutil
import statistics
from pathlib import Path

import pytest

from bytecap.core.errors import ConfigError
from bytecap.run.seeds import parse_seeds, seed_folder
from tests.runs import arguments, call

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("wrong", ["", "0,", "a", "0;1", "1.5", "-1", "0,0", "99999999999"])
def test_what_is_no_list_of_seeds(wrong: str) -> None:
    """Refused with an example, or with the seed that stands twice."""
    with pytest.raises(ConfigError, match="--seeds"):
        parse_seeds(wrong)
    assert parse_seeds("3, 0,12") == [3, 0, 12]


def test_several_seeds_need_a_folder_of_their_own(finished: Path, tmp_path: Path) -> None:
    """Beside a run of one seed there is no place for several."""
    assert seed_folder(tmp_path, 7) == tmp_path / "seed-7"
    with pytest.raises(ConfigError, match="holds a run of one seed"):
        seed_folder(finished, 7)


@pytest.mark.slow
def test_each_run_is_that_of_its_seed_and_resumes(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    """Each is the run of its seed; a second call prints, one that was interrupted goes on; more seeds may follow."""
    words = [*arguments(corpus, tmp_path / "all", **{"train.steps": 8}), "--quiet"]
    assert call(*words, "--seeds", "0,1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    records = {seed: json.loads((tmp_path / f"all/seed-{seed}/record.json").read_text()) for seed in (0, 1)}
    bits = [record["scores"]["after"]["bits_per_byte"] for record in records.values()]
    assert bits[0] != bits[1] and [record["recipe"]["run"]["seed"] for record in records.values()] == [0, 1]
    assert found["bits_per_byte"] == {"mean": statistics.fmean(bits), "spread": statistics.stdev(bits), "runs": 2}
    inodes = [(tmp_path / f"all/seed-{seed}/tokens/validation.jsonl").stat().st_ino for seed in (0, 1)]
    assert inodes[0] == inodes[1] and records[0]["corpus"] == records[1]["corpus"]
    alone = [*arguments(corpus, tmp_path / "alone", **{"train.steps": 8}), "--quiet", "--seed", "1"]
    assert call(*alone) == 0
    files = [(tmp_path / name / "model.bcap").read_bytes() for name in ("alone", "all/seed-1")]
    assert files[0] == files[1]

    (tmp_path / "all/seed-1/model.bcap").unlink()
    shutil.rmtree(tmp_path / "all/seed-0/tokens")  # later seeds have their own
    capsys.readouterr()
    assert call(*words, "--seeds", "0,1,2") == 0
    page = capsys.readouterr().out
    assert "  spread" in page and f"bytecap compare {tmp_path / 'all'} --against" in page
    assert (tmp_path / "all/seed-1/model.bcap").read_bytes() == files[0]
    assert call("compare", tmp_path / "all", "--against", tmp_path / "alone") == 0


def test_seed_and_seeds(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    """Both at once are refused."""
    assert call(*arguments(corpus, tmp_path), "--seed", "3", "--seeds", "0,1") == 2
    assert "put all seeds into --seeds" in capsys.readouterr().err
