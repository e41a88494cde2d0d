"""The adaptations there are: the files of this folder. A file is read only when a score uses it."""

from __future__ import annotations

from collections.abc import Mapping

from bytecap.core.parts import Parts
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig

ADAPTATIONS = Parts("adaptation", __name__, __path__, Adaptation)


def adaptation_config(name: str) -> type[AdaptationConfig]:
    """The settings of the adaptation `name`; ConfigError with the nearest name when there is none."""
    return ADAPTATIONS.find(name).config_class


def build_adaptations(configs: Mapping[str, AdaptationConfig]) -> list[Adaptation]:
    """One object for each, in alphabetical order, which is that in which they join."""
    return [ADAPTATIONS.find(name)(configs[name]) for name in sorted(configs)]
