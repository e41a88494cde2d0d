"""A model that adapts while it is scored, from the recipe to whoever has the file alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import bytecap
from bytecap.artifact.load import load
from bytecap.run import scoring
from bytecap.text.tokenizer import Tokenizer
from tests.runs import arguments, call

pytestmark = pytest.mark.slow

SGD = {
    "train.steps": 4, "text.validation_fraction": 0.1,
    "score.adapt.sgd.rate": 0.02, "score.adapt.sgd.chunk": 16, "score.strategy": "streaming",
}  # fmt: skip


@pytest.fixture(scope="module")
def adapted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recipe says that its model adapts."""
    out = tmp_path_factory.mktemp("adapted") / "run"
    assert call(*arguments(corpus, out, **SGD)) == 0
    return out


def score_json(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    assert call("score", *words, "--json", "--quiet") == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def held_out(run: Path, folder: Path) -> Path:
    """The run's held-out documents as a text of their own."""
    rows = (run / "tokens" / "validation.jsonl").read_text().splitlines()
    path = folder / "held.jsonl"
    path.write_text("\n".join(json.dumps({"text": json.loads(row)}) for row in rows))
    return path


def test_from_the_recipe_to_the_file_alone(adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Record, header, the verb on the run, and the file alone on the same text: one number, the static ones beside."""
    record = json.loads((adapted / "record.json").read_text())
    score, after = record["scores"]["adapted"], record["scores"]["after"]
    assert score["adapt"]["sgd"]["rate"] == 0.02 and score["strategy"] == "streaming" and score["order"] == "canonical"
    assert score["tokens"] == after["tokens"] and score["text_bytes"] == after["text_bytes"] and record["failed"] == {}
    assert score["bits_per_byte"] < after["bits_per_byte"] and "adapt" not in after
    saved = load(adapted / "model.bcap")
    assert saved.adapt == {"sgd": {"rate": 0.02, "chunk": 16}} and saved.strategy == "streaming"
    again = score_json(capsys, adapted)
    assert again["nats"] == score["nats"]
    assert again["static"]["streaming"]["nats"] == after["nats"]
    assert again["static"]["plain"]["nats"] == record["scores"]["after_plain"]["nats"]
    alone = tmp_path / "alone.bcap"
    alone.write_bytes((adapted / "model.bcap").read_bytes())
    text = held_out(adapted, tmp_path)
    value = score_json(capsys, alone, "--text", text, "--stride", "8")
    assert value["nats"] == pytest.approx(score["nats"], rel=1e-9)
    assert score_json(capsys, alone, "--text", text, "--stride", "8", "--adapt", "none")["nats"] == pytest.approx(
        after["nats"], rel=1e-9
    )
    named = score_json(capsys, alone, "--text", text, "--stride", "8", "--adapt", "sgd")
    assert named["adapt"] == value["adapt"] and named["adapt"]["sgd"]["chunk"] == 16 and named["nats"] == value["nats"]
    words = ["--adapt", "sgd", "--set", "score.adapt.sgd.rate=0.01"]
    assert score_json(capsys, alone, "--text", text, *words)["adapt"]["sgd"] == {**named["adapt"]["sgd"], "rate": 0.01}
    assert bytecap.score(alone, text=text, stride=8, adapt={"sgd": {"rate": 0.02, "chunk": 16}}).nats == pytest.approx(
        score["nats"], rel=1e-9
    )
    call("score", adapted, "--quiet")
    lines = capsys.readouterr().out.splitlines()
    assert "adapting by sgd" in lines[0] and "streaming, the model alone" in lines[1] and "plain" in lines[2]


def test_on_the_command_line(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An adaptation for a run without one; names and settings that there are not."""
    value = score_json(capsys, finished, "--adapt", "softcap_temperature", "--set", "score.strategy=streaming")
    assert list(value["adapt"]) == ["softcap_temperature"]
    assert call("score", finished, "--adapt", "softcap_temperatur") == 2
    assert "did you mean softcap_temperature?" in capsys.readouterr().err
    assert call("score", finished, "--set", "score.adapt.lora.rnk=4") == 2
    assert "did you mean rank?" in capsys.readouterr().err
    assert call("score", finished, "--set", "train.steps=4") == 2
    assert "settings of [score] do" in capsys.readouterr().err
    assert call("score", finished, "--adapt", "softcap_temperature", "--set", "score.adapt.lora.rank=2") == 2
    assert "--adapt does not name it; add --adapt lora" in capsys.readouterr().err
    assert call("score", finished, "--set", "score.strategy=streaming", "--quiet") == 0
    assert ", streaming; " in capsys.readouterr().out


def test_a_folder_that_can_only_be_read(
    adapted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The score is the same, and it is said that a stopped one begins again; nothing is written."""
    known, before = score_json(capsys, adapted), sorted(adapted.rglob("*"))
    monkeypatch.setattr(scoring, "kept_groups", None)
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != adapted)
    assert call("score", adapted, "--json") == 0
    found = capsys.readouterr()
    assert "cannot be written to, so a score that is stopped begins again" in found.err
    assert json.loads(found.out)["nats"] == known["nats"] and sorted(adapted.rglob("*")) == before


def test_what_a_file_says_itself(adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that has no effect on a file's score is refused, not ignored."""
    words = ["--text", str(held_out(adapted, tmp_path)), "--set", "score.batch_tokens=64"]
    assert call("score", adapted / "model.bcap", *words) == 2
    assert "--set score.batch_tokens changes nothing with --text" in capsys.readouterr().err


def test_one_that_diverges_is_marked_or_named(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Far above the model alone; and no number at all, which names position and adaptation."""
    words = ["--adapt", "sgd", "--set", "score.adapt.sgd.clip=0", "--set", "score.strategy=streaming"]
    assert call("score", finished, *words, "--set", "score.adapt.sgd.rate=3", "--quiet") in (0, 7)
    found = capsys.readouterr()
    assert "DIVERGED" in found.out or "while the model adapted by sgd" in found.err


class Uniform:
    """The least that a predictor can be."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def reset(self) -> None:
        pass

    def log_probs(self, tokens_T: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(tokens_T), self.vocab_size).log_softmax(dim=-1)

    def learn(self, scored: Any) -> None:
        pass


def test_anybodys_predictor(adapted: Path, tmp_path: Path) -> None:
    """From Python, with the tokenizer that it speaks of."""
    model = load(adapted / "model.bcap").tokenizer
    assert model is not None
    tokenizer, text = Tokenizer.from_bytes(model), held_out(adapted, tmp_path)
    found = bytecap.score(Uniform(tokenizer.vocab_size), text=text, tokenizer=tokenizer)
    assert found.nats == pytest.approx(found.tokens * torch.tensor(float(tokenizer.vocab_size)).log().item())
    with pytest.raises(bytecap.ConfigError, match="give the tokenizer"):
        bytecap.score(Uniform(300), text=text)
    with pytest.raises(bytecap.ConfigError, match="lacks reset, log_probs, learn"):
        bytecap.score(object(), text=text, tokenizer=tokenizer)  # type: ignore[arg-type]
    with pytest.raises(bytecap.ConfigError, match="the predictor has a vocabulary of 7"):
        bytecap.score(Uniform(7), text=text, tokenizer=tokenizer)
    with pytest.raises(bytecap.ConfigError, match="a predictor adapts in its own"):
        bytecap.score(Uniform(300), text=text, tokenizer=tokenizer, adapt=["lora"])
    with pytest.raises(bytecap.ConfigError, match=r"there is no adaptation 'lor' .did you mean lora"):
        bytecap.score(adapted / "model.bcap", text=text, adapt="lor")
