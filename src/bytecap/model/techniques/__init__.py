"""The techniques, as an explicit table: name to the part that joins a seam."""

from __future__ import annotations

from bytecap.core.errors import ConfigError, nearest
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import RoutePart
from bytecap.model.techniques.residual_mix import ResidualMix
from bytecap.model.techniques.unet_skips import UNetSkips

TECHNIQUES: dict[str, type[ResidualMix] | type[UNetSkips]] = {
    "residual_mix": ResidualMix,
    "unet_skips": UNetSkips,
}


def build_technique(name: str, spec: ModelSpec) -> RoutePart:
    """The part called `name`; ConfigError names the nearest when there is none."""
    if name not in TECHNIQUES:
        raise ConfigError(f"model.techniques names {name!r}, which does not exist{nearest(name, TECHNIQUES)}")
    return TECHNIQUES[name](spec)
