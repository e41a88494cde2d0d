"""A score that was stopped goes on where it was, and ends with the same bits."""

import json
from pathlib import Path
from typing import Any

import pytest

from bytecap.core.errors import DataError
from bytecap.core.progress import Silent
from bytecap.scoring import adaptive
from bytecap.scoring.adaptive import AdaptiveScoring, evaluate_adaptive
from bytecap.scoring.kept_groups import KeptGroups
from tests.contracts.adaptations import CONTEXT, build_validation, default_config, make_ids
from tests.model.test_gpt import random_model


class StopsAfter(Silent):
    """A progress during which the process is stopped."""

    def __init__(self, tokens: float) -> None:
        self.tokens = tokens

    def update(self, done: float, total: float, text: str = "") -> None:
        if done > self.tokens:
            raise KeyboardInterrupt


def test_a_stopped_score_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three groups two are kept; they are not scored again, and nothing stays in the folder."""
    monkeypatch.setattr(adaptive, "GROUP_TOKENS", 30)
    validation = build_validation(tmp_path / "text", make_ids(1, (30, 12, 22, 25, 1, 19)))
    how = AdaptiveScoring(adapt={"sgd": default_config("sgd")}, context=CONTEXT, batch_tokens=CONTEXT)
    whole = evaluate_adaptive(random_model(), validation, how, Silent())
    folder = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        evaluate_adaptive(random_model(), validation, how, StopsAfter(70), KeptGroups(folder, "a"))
    assert sorted(path.name for path in (folder / "a").iterdir()) == ["0.json", "1.json"]
    again = evaluate_adaptive(random_model(), validation, how, StopsAfter(50), KeptGroups(folder, "a"))
    assert again.nats == whole.nats and again.text_bytes == whole.text_bytes and not (folder / "a").exists()
    with pytest.raises(KeyboardInterrupt):  # of other settings nothing is kept
        evaluate_adaptive(random_model(), validation, how, StopsAfter(50), KeptGroups(folder, "b"))
    kept = json.loads((folder / "b" / "0.json").read_text())
    damages: tuple[dict[str, Any], ...] = ({"begin": -1}, {"end": 999}, {"nats": []}, {"nats": ["x"]}, {"document": 99})
    for text in ("{", *(json.dumps({**kept, **damage}) for damage in damages)):
        (folder / "b" / "0.json").write_text(text)
        with pytest.raises(DataError, match=r"0\.json .* delete it"):
            evaluate_adaptive(random_model(), validation, how, Silent(), KeptGroups(folder, "b"))
