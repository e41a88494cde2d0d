"""Verdicts on runs whose differences are known, and everything that is refused."""

import json
import math
from pathlib import Path

import pytest

import bytecap
from bytecap.core.errors import ConfigError, DataError
from bytecap.run.compare import RunComparison, compare
from tests.runs import call, vary


def make(finished: Path, out: Path, shifts: list[float], **changes: object) -> list[Path]:
    """Runs of seeds 0, 1, ... with so many nats more for each document."""
    return [vary(finished, out / f"seed-{seed}", seed=seed, nats=nats, **changes) for seed, nats in enumerate(shifts)]


def test_better_worse_and_unclear(finished: Path, tmp_path: Path) -> None:
    """A difference well above the spread is told, in both directions; one below it is not, and seeds are asked for."""
    low = make(finished, tmp_path / "low", [0.0, 1.0, 2.0])
    high = make(finished, tmp_path / "high", [50.0, 51.0, 52.5])
    near = make(finished, tmp_path / "near", [0.5, 2.4, 1.3])
    better, worse, unclear = compare(low, high), compare(high, low), compare(low, near)
    assert (better.verdict, worse.verdict, unclear.verdict) == ("better", "worse", "not distinguishable")
    assert better.decided_by == "welch" and better.equal_bytes and set(better.tests) == {"welch", "paired", "documents"}
    assert unclear.seeds_needed is not None and f"About {unclear.seeds_needed} seeds" in unclear.summary
    bits, nats = (better.tests["welch"][unit]["mean"] for unit in ("bits_per_byte", "nats_per_token"))
    tokens, text_bytes = (
        json.loads((finished / "record.json").read_text())["scores"]["after"][k] for k in ("tokens", "text_bytes")
    )
    documents = len(json.loads((finished / "score.json").read_text())["documents"]["bytes"])
    assert nats == pytest.approx(-50.1667 * documents / tokens, rel=1e-4)
    assert bits == pytest.approx(nats * tokens / text_bytes / 0.6931471805599453)
    assert better.tests["documents"]["bits_per_byte"]["mean"] == pytest.approx(bits)
    assert "at equal bytes" in better.summary and "decides" in str(better) and better.tests["paired"]


def test_one_run_is_no_verdict(finished: Path, tmp_path: Path) -> None:
    """A changed seed alone is never called an improvement; one side's spread tells how many seeds it would take."""
    (one,) = make(finished, tmp_path / "a", [0.0])
    others = make(finished, tmp_path / "b", [50.0, 51.0, 49.0])
    other = vary(finished, tmp_path / "c", seed=7, nats=3.0)
    found = compare([one], [other])
    assert (found.verdict, found.decided_by, found.seeds_needed) == ("not distinguishable", None, None)
    assert "At least 2 seeds" in found.summary and "documents" in found.tests
    half = compare([one], others)
    assert half.decided_by is None and half.seeds_needed == 2 and "About 2 seeds" in half.summary


def test_same_checkpoint_is_a_pair(finished: Path, tmp_path: Path) -> None:
    """Two fits of one checkpoint are compared document by document, two fits of several pair by pair."""
    one, other = (vary(finished, tmp_path / name, nats=nats) for name, nats in (("x", 0.0), ("y", 1.0)))
    found = compare([one], [other])
    assert (found.verdict, found.decided_by) == ("better", "documents") and "one checkpoint" in found.summary
    ours, theirs = (
        [
            vary(finished, tmp_path / side / str(seed), seed=seed, nats=nats[seed], scores__before__nats=seed)
            for seed in (0, 1)
        ]
        for side, nats in (("c", (0.0, 5.0)), ("d", (1.0, 6.1)))
    )
    assert (compare(ours, theirs).decided_by, compare(ours, theirs).verdict) == ("paired", "better")


def test_loud_where_not_like_for_like(finished: Path, tmp_path: Path) -> None:
    """Other caps, hardware, windows and settings are all told."""
    ours = make(finished, tmp_path / "a", [0.0, 1.0])
    theirs = make(
        finished, tmp_path / "b", [50.0, 51.0], artifact__cap_bytes=12_000, hardware__name="another machine",
        recipe__model__d_model=24, scores__after__stride=32,
    )  # fmt: skip
    found = compare(ours, theirs)
    text = str(found)
    assert not found.equal_bytes and "NOT AT EQUAL BYTES (cap 9,000 against 12,000)" in found.summary
    assert "NOTE  NOT AT EQUAL BYTES" in text and "another machine" in text and "different ways: stride" in text
    assert found.settings == {"model.d_model": [16, 24]} and "model.d_model  16  24" in text


def test_older_and_lone_records(finished: Path, tmp_path: Path) -> None:
    """A record.json without its folder, of an older version, and other tokens give fewer tests, which is said."""
    golden = Path(__file__).parents[1] / "golden" / "run_0_1"
    (tmp_path / "record.json").write_bytes((golden / "record.json").read_bytes())
    assert compare([golden], [tmp_path / "record.json"]).verdict == "not distinguishable"
    (ours,) = make(finished, tmp_path / "a", [0.0])
    (theirs,) = make(finished, tmp_path / "b", [50.0], scores__after__tokens=77)
    (theirs / "score.json").unlink()
    found = compare([ours / "record.json"], [theirs / "record.json"])
    assert found.tests == {} and any("no test over documents" in line for line in found.warnings)
    assert any("nats per token do not compare" in line for line in found.warnings) and "no test:" in str(found)
    score = json.loads((ours / "score.json").read_text())
    (ours / "score.json").write_text(json.dumps({**score, "artifact": "another"}))
    assert "documents" not in compare([ours], [vary(finished, tmp_path / "c", seed=3)]).tests


def test_bars_of_a_contest(finished: Path, tmp_path: Path) -> None:
    """A contest's bar is met by a large and sure gain, missed by a small one with the seeds that it would take."""
    ours = make(finished, tmp_path / "a", [0.0, 1.0, 2.0])
    contest = "parameter_golf_2026"
    met = compare(ours, make(finished, tmp_path / "b", [50.0, 51.0, 52.5]), contest=contest).bars["written"]
    assert met["met"] and met["p_found"] < 0.01
    small = make(finished, tmp_path / "c", [9.0, 6.0, 13.0])
    found = compare(ours, small, contest=contest)
    missed = found.bars["written"]
    assert not missed["met"] and missed["runs_needed"] > 3 and "seeds on each side" in " ".join(str(found).split())
    few = compare(ours[:2], small[:2], contest=contest).bars["written"]
    assert not few["met"] and few["p_found"] is None and "asks for 3 runs" in few["why"]
    reverse = compare(small, ours, contest=contest)
    assert "no number of seeds" in " ".join(str(reverse).split()) and reverse.bars["written"]["runs_needed"] is None


def test_runs_that_cannot_be_compared_are_refused(finished: Path, tmp_path: Path) -> None:
    """Other text by name, runs that are not one recipe's seeds, files counted twice, and what is not there."""
    ours = make(finished, tmp_path / "a", [0.0, 1.0])
    elsewhere = vary(
        finished, tmp_path / "text", corpus__digest="0123", corpus__name="novels", corpus__validation_digest=None
    )
    with pytest.raises(
        DataError, match=r"held-out bytes of .*corpus.* of novels \(corpus digest 0123\).*do not compare"
    ):
        compare(ours, [elsewhere])
    same_text = vary(finished, tmp_path / "more", corpus__digest="4567")  # more training text, the same held-out text
    assert compare(ours, [same_text]).verdict == "not distinguishable"
    other = vary(finished, tmp_path / "other", seed=5, nats=9.0, recipe__model__d_model=99)
    for sides, message in (
        (([ours[0], other], ours), r"differ in model\.d_model; .*nothing but run\.seed"),
        (([ours[0], ours[0]], ours), "RUN counts one file as two runs"),
        ((ours, []), "--against names no run"),
    ):
        with pytest.raises(ConfigError, match=message):
            compare(*sides)
    with pytest.raises(ConfigError, match=r"no score 'aftr' .did you mean after"):
        compare(ours, [same_text], score="aftr")
    with pytest.raises(ConfigError, match=r"a.* is on both sides; a run does not differ from itself"):
        compare(ours, [ours[0] / "record.json"])
    with pytest.raises(ConfigError, match="stands alone where a list"):
        compare("runs/a", ours)
    with pytest.raises(DataError, match=r"score.json is no record; give the folder of a finished run"):
        compare([ours[0] / "score.json"], ours)
    with pytest.raises(DataError, match=r"nothing does not exist; give the folder of a finished run"):
        compare([tmp_path / "nothing"], ours)
    broken = vary(finished, tmp_path / "broken")
    score = json.loads((broken / "score.json").read_text())
    score["documents"]["bytes"][0] += score["documents"]["bytes"].pop()
    (broken / "score.json").write_text(json.dumps(score))
    with pytest.raises(DataError, match="not as many nats as documents"):
        compare([broken], ours)


def test_from_the_command_line(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders of several seeds stand for their runs; JSON holds what the text says; the name is public."""
    make(finished, tmp_path / "a", [0.0, 1.0]), make(finished, tmp_path / "b", [50.0, 51.0])
    assert call("compare", tmp_path / "a", "--against", tmp_path / "b") == 0
    assert "\n\nbetter: -" in capsys.readouterr().out
    assert call("compare", tmp_path / "a", "--against", tmp_path / "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    public: RunComparison = bytecap.compare([tmp_path / "a"], [tmp_path / "b"])
    assert found == json.loads(json.dumps(public.to_json())) and len(found["sides"]["runs"]["runs"]) == 2
    assert call("compare", tmp_path / "a") == 2 and "--against" in capsys.readouterr().err


def test_the_score_that_counts(finished: Path, tmp_path: Path) -> None:
    """Where every file has a score of a model that adapts, that one is compared; else that of the model alone."""
    after = json.loads((finished / "record.json").read_text())["scores"]["after"]
    adapted = {**after, "strategy": "streaming", "adapt": {"lora": {}}, "order": "canonical"}
    adapted["nats"] = 1.25 * adapted["text_bytes"] * math.log(2)
    ours = vary(finished, tmp_path / "a", scores__adapted=adapted)
    theirs = vary(finished, tmp_path / "b", seed=1, scores__adapted={**adapted, "nats": 1.2 * adapted["nats"]})
    without = vary(finished, tmp_path / "c", seed=2)
    found = compare([ours], [theirs])
    assert found.text["score"] == "adapted" and found.sides["runs"]["bits_per_byte"]["mean"] == pytest.approx(1.25)
    assert compare([ours], [without]).text["score"] == compare([ours], [theirs], score="after").text["score"] == "after"


def test_faults_are_told(finished: Path, tmp_path: Path) -> None:
    """A score that was marked as diverged, documents of other bytes, and a record that lacks what is read of it."""
    ours = vary(finished, tmp_path / "a", scores__after__fault="adapting by lora has diverged")
    theirs = vary(finished, tmp_path / "b", seed=1)
    score = json.loads((theirs / "score.json").read_text())
    score["documents"]["bytes"][0] += 1
    score["documents"]["bytes"][1] -= 1
    (theirs / "score.json").write_text(json.dumps(score))
    warnings = compare([ours], [theirs]).warnings
    assert any("has diverged" in line for line in warnings) and any("different ways" in line for line in warnings)
    with pytest.raises(DataError, match="'hardware' has no 'device'"):
        compare([vary(finished, tmp_path / "c", hardware={})], [theirs])
