"""Rule sets: every one that comes with the program is read, every probe is used, and what is wrong is named."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_args

import pytest

from bytecap.auditing.probes import PROBES
from bytecap.auditing.rules import load_rules
from bytecap.auditing.subject import MISSING, Part
from bytecap.core import catalog
from bytecap.core.errors import ConfigError


@pytest.mark.parametrize("name", catalog.names("rules"))
def test_sets_are_read(name: str) -> None:
    """Each asks the same questions, with settings of its own, and says where its rules are written."""
    rules = load_rules(name)
    assert rules.config.summary and rules.config.written_in
    assert {rule.config.probe for rule in rules.rules} == set(PROBES.names())
    assert all(rule.config.title and rule.config.precedent for rule in rules.rules)


@pytest.mark.parametrize("name", PROBES.names())
def test_probes_say_what_they_ask(name: str) -> None:
    """A docstring with the rule, parts that exist."""
    probe = PROBES.find(name)
    assert "Rule" in (inspect.getdoc(inspect.getmodule(probe)) or "") and probe.__doc__
    assert set(probe.needs) <= set(get_args(Part)) == set(MISSING)


def test_the_contest_has_its_own_terms() -> None:
    """Its cap, clocks and documents; what its judges accepted is recorded."""
    rules = {rule.id: rule for rule in load_rules("parameter_golf_2026").rules}
    assert rules["A1"].config.settings == {"cap_bytes": 16_000_000}
    assert rules["G1"].config.when_broken == "recorded"


def test_mistakes_are_named(tmp_path: Path) -> None:
    """An unknown set, probe, setting or verdict, and a set of nothing."""
    path = tmp_path / "mine.toml"

    def refused(text: str, match: str) -> None:
        path.write_text(text)
        with pytest.raises(ConfigError, match=match):
            load_rules(str(path))

    with pytest.raises(ConfigError, match=r"no rule set 'standart' .did you mean standard"):
        load_rules("standart")
    refused('summary = "x"', "holds no rule")
    rule = 'summary = "x"\n[rule.X]\ntitle = "t"\n'
    refused(rule + 'probe = "target_flop"', "did you mean target_flip")
    refused(rule + 'probe = "target_flip"\nsettings = { flip = 3 }', "did you mean flips")
    refused(rule + 'probe = "target_flip"\nsettings = { flips = 0 }', "flips")
    refused(rule + 'probe = "target_flip"\nwhen_broken = "forgiven"', "when_broken")
    path.write_text(rule + 'probe = "target_flip"\nsettings = { flips = 3 }')
    assert load_rules(str(path)).name == "mine"
