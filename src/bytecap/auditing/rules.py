"""Sets of rules: TOML files that say which probe asks for each rule, and with which settings.

In:   the name of a set that comes with the program, or the path of a TOML file.
Out:  a RuleSet, every setting checked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bytecap.auditing.probes import PROBES
from bytecap.auditing.probes.base import Probe
from bytecap.core import catalog
from bytecap.core.errors import ConfigError
from bytecap.core.settings_reader import from_authored

STANDARD = "standard"
"""The set that holds where none is named."""


@dataclass(frozen=True, kw_only=True)
class RuleConfig:
    """One rule of a set, as a file says it."""

    title: str
    """The rule in one sentence."""
    probe: str
    """The file of the probe that asks for it."""
    precedent: tuple[str, ...] = ()
    """Where it was broken before, or stated."""
    when_broken: Literal["broken", "recorded"] = "broken"
    """`recorded` where the contest of this set reports it and does not refuse a score for it."""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of the probe."""


@dataclass(frozen=True, kw_only=True)
class RuleSetConfig:
    """A file of rules."""

    summary: str
    """One line for lists."""
    written_in: str = ""
    """Where the rules are written down."""
    rule: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Rules by their id."""


@dataclass(frozen=True)
class Rule:
    """A rule and the probe that asks for it."""

    id: str
    config: RuleConfig
    probe: Probe


@dataclass(frozen=True)
class RuleSet:
    """The rules of one set, in the order of its file."""

    name: str
    config: RuleSetConfig
    rules: tuple[Rule, ...]


def load_rules(name: str = STANDARD) -> RuleSet:
    """The rule set of that name or path; ConfigError for an unknown name, probe or setting, with the nearest one."""
    table = catalog.read("rules", name)
    origin = f"rule set {name}"
    config = from_authored(RuleSetConfig, table, origin=origin)
    if not config.rule:
        raise ConfigError(f"{origin} holds no rule; write them as tables such as [rule.C1a]")
    rules = tuple(_rule(id, its, f"{origin}, rule {id}") for id, its in config.rule.items())
    return RuleSet(Path(name).stem, config, rules)


def _rule(id: str, table: Any, origin: str) -> Rule:
    config = from_authored(RuleConfig, table, origin=origin)
    probe_class = PROBES.find(config.probe)
    return Rule(id, config, probe_class(from_authored(probe_class.config_class, config.settings, origin=origin)))
