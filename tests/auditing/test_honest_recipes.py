"""No honest score is accused: every recipe's model, as a toy with random weights, however it is scored."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bytecap.auditing import excerpts
from bytecap.auditing.findings import KEPT, RECORDED
from bytecap.auditing.job import audit_subject
from bytecap.auditing.own_models import scored_model
from bytecap.auditing.rules import RuleSet
from bytecap.core import catalog
from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.run import recipe as recipes
from bytecap.scoring.adaptations import ADAPTATIONS, adaptation_config
from bytecap.scoring.adaptive import AdaptiveScoring
from tests.auditing.subjects import TOKENIZER, make_subject, only
from tests.end_to_end.test_recipes import toy

pytestmark = pytest.mark.slow
CONTEXT, STRIDE = 48, 24
ASKED = ("A5", "C1a", "C1b", "C1c", "C2a", "C3", "C4", "C5", "S1", "G1", "G2")


def few(rules: RuleSet) -> RuleSet:
    """The same questions, asked less often."""
    changed = []
    for rule in rules.rules:
        config: Any = getattr(rule.probe, "config", None)
        fewer = {"flips": 6, "positions": 64, "length": 128, "cuts": 3, "boundaries": 2}
        names = {field.name for field in dataclasses.fields(config)} if config is not None else set()
        if used := {name: count for name, count in fewer.items() if name in names}:
            probe = type(rule.probe)(dataclasses.replace(config, **used))
            changed.append(dataclasses.replace(rule, probe=probe))
        else:
            changed.append(rule)
    return dataclasses.replace(rules, rules=tuple(changed))


def toy_model(name: str) -> GPT:
    """A recipe's model with weights that make its distributions uneven."""
    small = {
        "model.n_layers": 3, "model.d_model": 16, "model.d_ff": 32, "model.n_heads": 2, "model.n_kv_heads": 1,
        **{key: value for key, value in toy(name).items() if key.startswith("model.")},
    }  # fmt: skip
    recipe = recipes.resolve(name, track="laptop", overrides=[f"{key}={value}" for key, value in small.items()])
    torch.manual_seed(0)
    model = GPT(ModelSpec.of(recipe.model, TOKENIZER.vocab_size))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def scoring(stride: int = STRIDE, strategy: Any = "windows", *adaptations: str) -> AdaptiveScoring:
    """A way of scoring."""
    adapt = {name: adaptation_config(name)() for name in adaptations}
    return AdaptiveScoring(adapt=adapt, context=CONTEXT, stride=stride, batch_tokens=64, strategy=strategy)


def verdicts(subject_folder: Path, model: GPT, how: AdaptiveScoring) -> dict[str, str]:
    """What the questions about a model get."""
    subject = dataclasses.replace(make_subject(subject_folder), model=scored_model(lambda: model, TOKENIZER.bos, how))
    report = audit_subject(subject, few(only(*ASKED)), seed=0, progress=Silent())
    assert not report.broken, [(finding.rule, finding.answer) for finding in report.broken]
    return {finding.rule: finding.answer.verdict for finding in report.findings}


@pytest.fixture(autouse=True)
def one_excerpt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of three: what is asked is the same, of less text."""
    monkeypatch.setattr(excerpts, "EXCERPTS", 1)


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_recipes_are_not_accused(name: str, tmp_path: Path) -> None:
    """Sliding windows, and streaming."""
    model = toy_model(name)
    for how in (scoring(), scoring(STRIDE, "streaming")):
        assert set(verdicts(tmp_path, model, how).values()) == {KEPT}


@pytest.mark.parametrize("strategy", ["windows", "streaming"])
@pytest.mark.parametrize("name", ADAPTATIONS.names())
def test_adaptations_are_not_accused(name: str, strategy: Any, tmp_path: Path) -> None:
    """What learns within a document is clean; what learns over documents is recorded and no more."""
    found = verdicts(tmp_path, toy_model("laptop_best"), scoring(STRIDE, strategy, name))
    assert set(found.values()) <= {KEPT, RECORDED}
    assert {rule for rule, verdict in found.items() if verdict == RECORDED} <= {"C5", "S1"}


def test_attention_across_documents_is_recorded(tmp_path: Path) -> None:
    """A recipe that publishes it is not accused of it."""
    model = toy_model("baseline")
    across = GPT(dataclasses.replace(model.spec, across_documents=True))
    across.load_state_dict(model.state_dict())
    assert verdicts(tmp_path, across.eval(), scoring())["S1"] == RECORDED
