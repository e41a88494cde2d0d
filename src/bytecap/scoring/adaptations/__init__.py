"""The adaptations there are: the files of this folder. A file is read only when a score uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bytecap.core.parts import Parts
from bytecap.core.settings import tables_by_name
from bytecap.core.settings_reader import from_authored, from_sparse
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig

ADAPTATIONS = Parts("adaptation", __name__, __path__, Adaptation)


def adaptation_config(name: str) -> type[AdaptationConfig]:
    """The settings of the adaptation `name`; ConfigError with the nearest name when there is none."""
    return ADAPTATIONS.find(name).config_class


def build_adaptations(configs: Mapping[str, AdaptationConfig]) -> list[Adaptation]:
    """One object for each, in alphabetical order, which is that in which they join."""
    return [ADAPTATIONS.find(name)(configs[name]) for name in sorted(configs)]


@dataclass(frozen=True, kw_only=True)
class _Tables:
    adapt: Mapping[str, AdaptationConfig] = field(default_factory=dict, metadata=tables_by_name(adaptation_config))


def chosen_adaptations(chosen: Iterable[str] | Mapping[str, Any], *, origin: str) -> Mapping[str, AdaptationConfig]:
    """What a person chose: names, or tables of settings by name; ConfigError for a name or a setting there is not."""
    if isinstance(chosen, str):
        chosen = [chosen]
    table = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen, True)
    return from_authored(_Tables, {"adapt": table}, origin=origin).adapt


def saved_adaptations(table: Mapping[str, Any], *, origin: str) -> Mapping[str, AdaptationConfig]:
    """What a `.bcap` file says; ConfigError for what this version does not know."""
    return from_sparse(_Tables, {"adapt": table}, origin=origin).adapt
