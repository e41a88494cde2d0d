"""The root of all settings: one field per room, read strictly from TOML.

In:   a recipe, its parent, a track, `--set path=value` overrides.
Out:  a resolved Recipe, in which nothing is left to be derived; it is printed, saved and hashed.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from bytecap.artifact.layout import MAX_CONTEXT
from bytecap.artifact.pack import ArtifactConfig
from bytecap.core import catalog
from bytecap.core.digest import digest_json
from bytecap.core.errors import BytecapError, ConfigError, nearest
from bytecap.core.files import write_bytes
from bytecap.model.spec import ModelConfig
from bytecap.quant.allocation import QuantConfig
from bytecap.scoring.evaluate import ScoreConfig
from bytecap.text.config import TextConfig
from bytecap.train.loop import TrainConfig

MAX_SEED = 1 << 62


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What this run is."""

    summary: str = ""
    """One line for lists."""
    base: str | None = None
    """The one recipe that this one differs from."""
    recipe: str = ""
    track: str = ""
    seed: int = 0
    """Of the first weights, the order of the text and the sample."""

    def __post_init__(self) -> None:
        """ConfigError for a seed that no generator takes."""
        if not 0 <= self.seed < MAX_SEED:
            raise ConfigError(f"run.seed is {self.seed}; it must lie between 0 and {MAX_SEED:,}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a published run is described."""

    url: str = ""
    date: str = ""
    claimed_bpb: float | None = None
    """Bits per byte that its authors report."""
    status: Literal["partial", "ported", "reproduced"] = "partial"
    missing: tuple[str, ...] = ()
    """What is known to be left out."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One field for each room."""

    run: RunConfig = field(default_factory=RunConfig)
    source: Source = field(default_factory=Source)
    text: TextConfig = field(default_factory=TextConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    quant: QuantConfig = field(default_factory=QuantConfig)
    artifact: ArtifactConfig = field(default_factory=ArtifactConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)

    @property
    def digest(self) -> str:
        """Of every setting."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """As JSON values, tuples as lists."""
        value: dict[str, Any] = _plain(dataclasses.asdict(self))
        return value


def resolve(
    name: str,
    *,
    track: str,
    seed: int = 0,
    overrides: list[str] | None = None,
    text: list[str] | None = None,
) -> Recipe:
    """The complete recipe: parent, recipe, track, overrides, each over the one before; then what is derived."""
    table = _overlay(_with_parent(name), catalog.read("tracks", track))
    summary = catalog.read("recipes", name).get("run", {}).get("summary", "")
    table = _overlay(table, {"run": {"summary": summary, "recipe": name, "track": track, "seed": seed}})
    if text:
        table = _overlay(table, {"text": {"paths": text}})
    for override in overrides or []:
        table = _overlay(table, _override(override))
    return _derived(validate(table, origin=f"recipe {name} on track {track}"))


def with_overrides(recipe: Recipe, overrides: list[str]) -> Recipe:
    """A resolved recipe with some settings replaced."""
    table = _without_none(recipe.to_json())
    for override in overrides:
        table = _overlay(table, _override(override))
    return _derived(validate(table, origin="--set"))


def validate(table: dict[str, Any], *, origin: str) -> Recipe:
    """A table as a Recipe; ConfigError names the key, what was found and the nearest known key."""
    try:
        return _adapter().validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("unexpected_keyword_argument", "unexpected_property"):
            parent, _, key = path.rpartition(".")
            known = [f.name for f in dataclasses.fields(_class_at(parent))]
            raise ConfigError(f"{origin}: {path} is not a setting{nearest(key, known)}", key=path) from None
        cause = first.get("ctx", {}).get("error")
        reason = str(cause) if isinstance(cause, BytecapError) else first["msg"]
        found = f", found {first['input']!r}" if not isinstance(first["input"], dict) else ""
        raise ConfigError(f"{origin}: {path}: {reason}{found}", key=path) from None


def save(recipe: Recipe, path: Path) -> None:
    """As TOML; settings that are None are left out."""
    write_bytes(path, ("\n".join(_toml_lines("", recipe.to_json())) + "\n").encode())


def load(path: Path) -> Recipe:
    """A saved recipe, every table of which was written."""
    table = catalog.read_toml(path)
    if missing := [room.name for room in dataclasses.fields(Recipe) if room.name not in table]:
        raise ConfigError(
            f"{path} is not the recipe of a run: it has no [{missing[0]}]; put back the one that `bytecap prepare` "
            "wrote, or prepare another folder",
            path=str(path),
        )
    return validate(table, origin=str(path))


def _derived(recipe: Recipe) -> Recipe:
    train = dataclasses.replace(recipe.train, micro_batch=recipe.train.micro_batch or recipe.train.batch)
    context = recipe.score.context or train.context
    score = dataclasses.replace(recipe.score, context=context)
    if context > MAX_CONTEXT:
        raise ConfigError(
            f"score.context, by default train.context, is {context:,}; at most {MAX_CONTEXT:,} are possible"
        )
    if score.stride > context:
        raise ConfigError(f"score.stride {score.stride} is larger than score.context {context}")
    return dataclasses.replace(recipe, train=train, score=score)


def _with_parent(name: str) -> dict[str, Any]:
    table = catalog.read("recipes", name)
    base = table.get("run", {}).get("base")
    if base is None:
        return table
    parent = catalog.read("recipes", base)
    if parent.get("run", {}).get("base") is not None:
        raise ConfigError(f"recipe {name} has base {base}, which has a base itself; a recipe has at most one parent")
    return _overlay(parent, table)


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables merge, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _override(text: str) -> dict[str, Any]:
    """`train.seconds=30` as a nested table; the value is TOML, or a plain string where it is not."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set {text!r} must be path=value, such as --set train.seconds=30")
    try:
        parsed: Any = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(path.strip().split(".")):
        parsed = {part: parsed}
    return typing.cast(dict[str, Any], parsed)


def _adapter() -> TypeAdapter[Recipe]:
    _forbid_unknown(Recipe)
    return TypeAdapter(Recipe)


def _forbid_unknown(owner: type) -> None:
    """Unknown keys are errors in every table; the configs themselves stay free of pydantic."""
    owner.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    for hint in typing.get_type_hints(owner).values():
        if dataclasses.is_dataclass(hint):
            _forbid_unknown(typing.cast(type, hint))


def _class_at(path: str) -> Any:
    """The config class of a dotted path."""
    owner: Any = Recipe
    for part in filter(None, path.split(".")):
        owner = typing.get_type_hints(owner)[part]
    return owner


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in table.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _toml_lines(path: str, table: dict[str, Any]) -> list[str]:
    lines = [f"\n[{path}]"] if path else []
    lines += [f"{k} = {_toml(v)}" for k, v in table.items() if v is not None and not isinstance(v, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _toml_lines(f"{path}.{key}".strip("."), value)
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"' + "".join(_TOML_ESCAPES.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in value) + '"'
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


_TOML_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
