"""The root of all settings: one field for each stage, read strictly from TOML.

In:   a recipe, its parent, a track, `--set path=value` overrides.
Out:  a resolved Recipe, in which nothing is left to be derived; it is printed, saved and hashed.

A saved recipe holds what differs from the defaults (core/settings.py) and shows the defaults as comments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bytecap.artifact.pack import ArtifactConfig
from bytecap.core import catalog
from bytecap.core.errors import ConfigError
from bytecap.core.files import write_bytes
from bytecap.core.settings import (
    NOT_IN_DIGEST,
    WRITTEN_BY,
    bounds,
    check_bounds,
    class_by_name,
    former_names,
    saved_fields,
)
from bytecap.core.settings_reader import from_authored, from_saved
from bytecap.core.settings_writer import digest_settings, to_full, to_sparse
from bytecap.core.toml import toml_value
from bytecap.core.version import __version__
from bytecap.model.spec import MAX_SEED, ModelConfig
from bytecap.published.scheme_plan import find_scheme, training_grids
from bytecap.quant.allocation import QuantConfig
from bytecap.run.overlays import overlay, parse_override, with_parent, with_scale
from bytecap.run.recipe_0_1 import digest_0_1
from bytecap.scoring.adaptations import chosen_adaptations
from bytecap.scoring.evaluate import ScoreConfig
from bytecap.text.config import TextConfig
from bytecap.train.config import TrainConfig
from bytecap.train.hooks import fake_quantization, plan_noise
from bytecap.train.hooks.fake_quantization import FakeQuantizationConfig

AS_PUBLISHED = "as_published"
"""The value of `artifact.scheme` that stands for the scheme of the recipe's source."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What this run is."""

    summary: str = field(default="", metadata=NOT_IN_DIGEST)
    """One line for lists."""
    base: str | None = None
    """The one recipe that this one differs from."""
    recipe: str = ""
    track: str = ""
    seed: int = field(default=0, metadata=bounds(0, MAX_SEED - 1))
    """Seed of the first weights, the order of the text and the sample."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a seed that no generator takes."""
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a published run is described."""

    url: str = ""
    date: str = ""
    claimed_bpb: float | None = None
    """Bits per byte that its authors report."""
    scheme: str = ""
    """The scheme that its weights were quantized by, a file of published/schemes/; empty where there is none."""
    status: Literal["partial", "ported", "reproduced"] = "partial"
    """Something that the claim rests on is missing; all is here, and what differs is listed; checked number by number
    against another program, as far as a CPU can tell."""
    missing: tuple[str, ...] = ()
    """Fields that are known to be left out."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One field for each stage."""

    run: RunConfig = field(default_factory=RunConfig)
    source: Source = field(default_factory=Source, metadata=NOT_IN_DIGEST)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    quant: QuantConfig = field(default_factory=QuantConfig)
    artifact: ArtifactConfig = field(default_factory=ArtifactConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)

    @property
    def digest(self) -> str:
        """Digest of every setting that differs from its first default; summary and source have no part in it."""
        return digest_settings(self)

    @property
    def known_digests(self) -> tuple[str, ...]:
        """`digest`, and the one that older versions gave to the same settings: what a product of this recipe names."""
        old = digest_0_1(self)
        return (self.digest,) if old is None else (self.digest, old)

    def to_json(self) -> dict[str, Any]:
        """Every setting as JSON values."""
        return to_full(self)


def resolve(
    name: str,
    *,
    track: str,
    seed: int = 0,
    overrides: list[str] | None = None,
    text: list[str] | None = None,
) -> Recipe:
    """The complete recipe: parent, recipe, track, scale, overrides, each over the one before; then what is derived.

    A recipe holds an idea, a track the budget and the shape that it is tried at. Where the idea has numbers of its own
    at one scale (12 blocks of width 1408, a vocabulary of 8192), the recipe has them as `[scale.NAME.…]`, laid over
    every track that says `scale = "NAME"`.
    """
    table = with_scale(with_parent(name), catalog.read("tracks", track), name)
    summary = catalog.read("recipes", name).get("run", {}).get("summary", "")
    table = overlay(table, {"run": {"summary": summary, "recipe": name, "track": track, "seed": seed}})
    if text:
        table = overlay(table, {"text": {"paths": text}})
    for override in overrides or []:
        table = overlay(table, parse_override(override))
    return _derived(validate(table, origin=f"recipe {name} on track {track}"))


def with_overrides(recipe: Recipe, overrides: list[str]) -> Recipe:
    """A resolved recipe with some settings replaced."""
    table = _without_none(recipe.to_json())
    for override in overrides:
        table = overlay(table, _current_names(parse_override(override), recipe))
    return _derived(validate(table, origin="--set"))


def validate(table: dict[str, Any], *, origin: str) -> Recipe:
    """A table as a Recipe; ConfigError names the key, what was found and the nearest known key."""
    return from_authored(Recipe, table, origin=origin)


def with_adaptations(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """A resolved recipe whose model adapts by these while it is scored, with the settings that it has for them.

    ConfigError, with the nearest name, for one there is not.
    """
    chosen = chosen_adaptations([name for name in names if name not in recipe.score.adapt], origin="--adapt")
    adapt = {name: recipe.score.adapt.get(name) or chosen[name] for name in names}
    return dataclasses.replace(recipe, score=dataclasses.replace(recipe.score, adapt=adapt))


def save(recipe: Recipe, path: Path) -> None:
    """Write TOML that holds what differs from the defaults, and the defaults as comments."""
    lines = [
        f"# A run of bytecap. Lines behind # are defaults.\n{WRITTEN_BY} = {toml_value(__version__)}",
        *_toml_lines("", recipe),
    ]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def load(path: Path) -> Recipe:
    """Read the recipe of a run, of this version or an older one; ConfigError for any other file."""
    remedy = "put back the one that `bytecap prepare` wrote, or prepare another folder"
    table = catalog.read_toml(path, remedy)
    if WRITTEN_BY not in table and "run" not in table:  # version 0.1.0 wrote no version, but every table
        raise ConfigError(f"{path} is not the recipe of a run: it has no [run]; {remedy}", path=str(path))
    recipe = from_saved(Recipe, table, origin=str(path), remedy=remedy)
    if recipe.score.context is None or recipe.train.micro_batch is None:  # a resolved recipe has them
        raise ConfigError(f"{path} is cut off: it lacks score.context or train.micro_batch; {remedy}", path=str(path))
    return recipe


def is_older(path: Path) -> bool:
    """Return whether an older version wrote the recipe at `path`."""
    return catalog.read_toml(path).get(WRITTEN_BY) != __version__


def fake_quantization_config(recipe: Recipe) -> FakeQuantizationConfig | None:
    """The scheme and the steps of the grid on which the run trains; None without fake quantization."""
    config = recipe.train.hooks.get(fake_quantization.NAME)
    return config if isinstance(config, FakeQuantizationConfig) else None


def _derived(recipe: Recipe) -> Recipe:
    train = dataclasses.replace(recipe.train, micro_batch=recipe.train.micro_batch or recipe.train.batch)
    train.check_hooks(recipe.model)
    if (trained := fake_quantization_config(recipe)) is not None:
        training_grids(trained.scheme, [], 0, trained.step_scale)
    context = recipe.score.context or train.context
    score = dataclasses.replace(recipe.score, context=context)
    if score.stride > context:
        raise ConfigError(f"score.stride {score.stride} is larger than score.context {context}")
    artifact = dataclasses.replace(recipe.artifact, scheme=_scheme(recipe))
    return dataclasses.replace(recipe, train=train, score=score, artifact=artifact)


def _scheme(recipe: Recipe) -> str:
    """The name of the scheme that the recipe asks for; ConfigError where its source names none, or one not known."""
    wanted = recipe.artifact.scheme
    if wanted == AS_PUBLISHED:
        if not recipe.source.scheme:
            raise ConfigError(
                f"artifact.scheme is {AS_PUBLISHED}, and recipe {recipe.run.recipe} names no published scheme in "
                "[source]; name one of `bytecap fit --help`, or leave it out for our own fit",
                key="artifact.scheme",
            )
        if recipe.source.claimed_bpb is None:
            raise ConfigError(
                f"artifact.scheme is {AS_PUBLISHED}, and recipe {recipe.run.recipe} was never published: its source "
                f"claims no score, and its scheme is one to compare with; say --set "
                f"artifact.scheme={recipe.source.scheme} if you want that one, or leave it out for our own fit",
                key="artifact.scheme",
            )
        wanted = recipe.source.scheme
    for name in {wanted, recipe.source.scheme} - {""}:
        find_scheme(name)
    trained = fake_quantization_config(recipe)
    if wanted and trained is not None and trained.scheme != wanted:
        raise ConfigError(
            f"train.hooks.{fake_quantization.NAME}.scheme is {trained.scheme} and artifact.scheme is {wanted}: "
            "training would read the weights on another grid than the file has; make them the same, or leave one out"
        )
    if wanted and plan_noise.NAME in recipe.train.hooks:
        raise ConfigError(
            f"train.hooks.{plan_noise.NAME} is on, which trains on the steps of our own fit, and artifact.scheme is "
            f"{wanted}: the file would have another grid; leave one out"
        )
    return wanted


def _current_names(table: dict[str, Any], settings: Any) -> dict[str, Any]:
    """A table with the keys that fields had in older versions under their names of today."""
    if not dataclasses.is_dataclass(settings):
        return table
    names = {former: field.name for field in saved_fields(settings) for former in former_names(field)}
    renamed = {names.get(key, key): value for key, value in table.items()}
    return {
        key: _current_names(value, getattr(settings, key, None)) if isinstance(value, dict) else value
        for key, value in renamed.items()
    }


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in table.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _toml_lines(path: str, settings: Any) -> list[str]:
    """The lines of one table, defaults as comments, then those of the tables in it."""
    lines = [f"\n[{path}]"] if path else []
    different, values = to_sparse(settings), to_full(settings)
    tables = {f.name for f in saved_fields(settings) if class_by_name(f)}
    nested = [n for n in values if n in tables or dataclasses.is_dataclass(getattr(settings, n))]
    for name, value in values.items():
        if value is None:
            lines.append(f"# {name} is not set")
        elif name not in nested:
            lines.append(f"{'' if name in different else '# '}{name} = {toml_value(value)}")
    for name in nested:
        inner, inner_path = getattr(settings, name), f"{path}.{name}".strip(".")
        if isinstance(inner, Mapping):
            lines.append(f"\n[{inner_path}]")
            lines += [line for key, entry in inner.items() for line in _toml_lines(f"{inner_path}.{key}", entry)]
        else:
            lines += _toml_lines(inner_path, inner)
    return lines
